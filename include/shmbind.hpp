/*
 * shmbind.hpp - shmbind.h for C++17: handles that close themselves, a memory
 * resource, and allocators with which containers live in a region.
 *
 * Everything here is inline over the C functions; shmbind.h says what they
 * guarantee. Where these return an error, a shmb::error is thrown; where
 * memory is short, std::bad_alloc.
 *
 *   shmb::arena heap("/prices", 1 << 30);
 *   using table = shmb::vector<double>;
 *   auto prices = shmb::box<table>::find_or_new(heap, "prices", heap);
 *   prices->push_back(1.5); // another process finds the box and reads it in place
 *
 * Which containers may be read where. A region may be mapped at one address
 * in one process and at another in the next, though it rarely is. With
 * shmb::allocator a container's pointers are shmb::offset_ptr, which hold
 * distances and are right at any address, if the library's container keeps
 * them as they are. With these two it does, or does not (tests/cxx.sh):
 *
 *                                           libstdc++ 12      libc++ 14
 *   vector                                  anywhere          anywhere
 *   deque, basic_string                     anywhere          at one address
 *   map, set, multimap, multiset, list,     at one address    anywhere
 *   forward_list, unordered_...
 *   vector<bool>                            refused           refused
 *
 * At one address: the container keeps plain pointers, or does not compile with
 * others. It takes shmb::fixed_allocator, which refuses an arena that is not
 * mapped at its own address, as does a shmb::box of such a container.
 * shmb::vector, deque, string, list, set, map and unordered_map choose by the
 * library; the wrong choice does not compile.
 *
 * Both sides of a region must be compiled with the same standard library and
 * the same layout of the types in it. Nothing in a region may have virtual
 * functions: their table is at another address in another program.
 */
#ifndef SHMBIND_HPP
#define SHMBIND_HPP

#include "shmbind.h"

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <exception>
#include <forward_list>
#include <functional>
#include <iterator>
#include <limits>
#include <list>
#include <map>
#include <memory>
#include <new>
#include <scoped_allocator>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <tuple>
#include <type_traits>
#include <typeinfo>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#if __has_include(<memory_resource>) // libc++ has it from version 16 on
#include <memory_resource>
#endif

namespace shmb {

/* ---- errors ---------------------------------------------------------------- */

class category_t final : public std::error_category {
public:
	const char *name() const noexcept override { return "shmbind"; }
	std::string message(int err) const override { return shmb_strerror(err); }
	std::error_condition default_error_condition(int err) const noexcept override
	{
		return err > 0 ? std::error_condition(err, std::generic_category()) : std::error_condition(err, *this);
	}
};

inline const std::error_category &category() noexcept
{
	static const category_t it;
	return it;
}

/* code().value() is the result of the C function: an errno or an SHMB_E... */
class error : public std::system_error {
public:
	error(int err, const std::string &what) : std::system_error(err, category(), what) {}
};

inline void check(int err, const char *what)
{
	if (err)
		throw error(err, what);
}

/* ---- pointers that hold a distance -------------------------------------------- */

/*
 * Points from where it lies: right wherever the memory that holds both is
 * mapped. A distance of 1 is the null pointer, since 0 is itself. Behaves as
 * T *, and is what the containers call a fancy pointer.
 */
template <class T> class offset_ptr {
	std::ptrdiff_t distance = null;
	static constexpr std::ptrdiff_t null = 1;

	/* Opaque to the optimiser, to which pointers between objects do not exist. */
	static std::uintptr_t opaque(std::uintptr_t v) noexcept
	{
		__asm__("" : "+r"(v));
		return v;
	}
	std::uintptr_t here() const noexcept { return opaque(reinterpret_cast<std::uintptr_t>(this)); }
	void set(const volatile void *p) noexcept
	{
		distance = p ? static_cast<std::ptrdiff_t>(reinterpret_cast<std::uintptr_t>(p) - here()) : null;
	}

public:
	using element_type = T;
	using value_type = std::remove_cv_t<T>;
	using difference_type = std::ptrdiff_t;
	using pointer = offset_ptr;
	using reference = std::add_lvalue_reference_t<T>;
	using iterator_category = std::random_access_iterator_tag;
	template <class U> using rebind = offset_ptr<U>;

	offset_ptr() noexcept = default;
	offset_ptr(T *p) noexcept { set(p); }
	offset_ptr(const offset_ptr &other) noexcept { set(other.get()); }
	template <class U, class = std::enable_if_t<std::is_convertible_v<U *, T *>>>
	offset_ptr(const offset_ptr<U> &other) noexcept
	{
		set(static_cast<T *>(other.get()));
	}
	/* What static_cast does for plain pointers: from void, from a base. */
	template <class U, class = void,
	          class = std::enable_if_t<!std::is_convertible_v<U *, T *> &&
	                                   (std::is_void_v<U> || std::is_base_of_v<std::remove_cv_t<U>, std::remove_cv_t<T>>)>>
	explicit offset_ptr(const offset_ptr<U> &other) noexcept
	{
		set(static_cast<T *>(other.get()));
	}
	offset_ptr &operator=(const offset_ptr &other) noexcept
	{
		set(other.get());
		return *this;
	}

	T *get() const noexcept
	{
		return distance == null ? nullptr : reinterpret_cast<T *>(opaque(here() + static_cast<std::uintptr_t>(distance)));
	}
	template <class U = T> static offset_ptr pointer_to(std::add_lvalue_reference_t<U> v) noexcept
	{
		return offset_ptr(std::addressof(v));
	}

	/* libstdc++'s basic_string passes its pointer on as a plain one. */
	operator T *() const noexcept { return get(); }
	explicit operator bool() const noexcept { return distance != null; }
	template <class U = T> std::add_lvalue_reference_t<U> operator*() const noexcept { return *get(); }
	T *operator->() const noexcept { return get(); }
	template <class U = T> std::add_lvalue_reference_t<U> operator[](difference_type i) const noexcept { return get()[i]; }

	offset_ptr &operator+=(difference_type n) noexcept
	{
		set(get() + n);
		return *this;
	}
	offset_ptr &operator-=(difference_type n) noexcept { return *this += -n; }
	offset_ptr &operator++() noexcept { return *this += 1; }
	offset_ptr &operator--() noexcept { return *this += -1; }
	offset_ptr operator++(int) noexcept
	{
		offset_ptr before(*this);
		++*this;
		return before;
	}
	offset_ptr operator--(int) noexcept
	{
		offset_ptr before(*this);
		--*this;
		return before;
	}
	friend offset_ptr operator+(const offset_ptr &p, difference_type n) noexcept { return offset_ptr(p.get() + n); }
	friend offset_ptr operator+(difference_type n, const offset_ptr &p) noexcept { return offset_ptr(p.get() + n); }
	friend offset_ptr operator-(const offset_ptr &p, difference_type n) noexcept { return offset_ptr(p.get() - n); }
	friend difference_type operator-(const offset_ptr &p, const offset_ptr &q) noexcept { return p.get() - q.get(); }

	friend bool operator==(const offset_ptr &p, std::nullptr_t) noexcept { return !p; }
	friend bool operator!=(const offset_ptr &p, std::nullptr_t) noexcept { return !!p; }
	friend bool operator==(std::nullptr_t, const offset_ptr &p) noexcept { return !p; }
	friend bool operator!=(std::nullptr_t, const offset_ptr &p) noexcept { return !!p; }
};

template <class T, class U> bool operator==(const offset_ptr<T> &p, const offset_ptr<U> &q) noexcept { return p.get() == q.get(); }
template <class T, class U> bool operator!=(const offset_ptr<T> &p, const offset_ptr<U> &q) noexcept { return p.get() != q.get(); }
template <class T, class U> bool operator<(const offset_ptr<T> &p, const offset_ptr<U> &q) noexcept { return p.get() < q.get(); }
template <class T, class U> bool operator>(const offset_ptr<T> &p, const offset_ptr<U> &q) noexcept { return q < p; }
template <class T, class U> bool operator<=(const offset_ptr<T> &p, const offset_ptr<U> &q) noexcept { return !(q < p); }
template <class T, class U> bool operator>=(const offset_ptr<T> &p, const offset_ptr<U> &q) noexcept { return !(p < q); }

/* ---- regions and arenas --------------------------------------------------------- */

/* A raw region, or, by arena::region(), the one that an arena lies in. */
class region {
	shmb_region *r = nullptr;

public:
	region(const char *name, const shmb_options &opt) { check(shmb_region_open(name, &opt, &r), name); }
	region(const char *name, std::size_t size, unsigned flags = 0)
		: region(name, shmb_options{size, 0, flags, nullptr})
	{
	}
	region(region &&other) noexcept : r(other.release()) {}
	region &operator=(region &&other) noexcept
	{
		region(std::move(other)).swap(*this);
		return *this;
	}
	~region() { (void)shmb_region_close(r); }
	void swap(region &other) noexcept { std::swap(r, other.r); }

	shmb_region *handle() const noexcept { return r; }
	shmb_region *release() noexcept { return std::exchange(r, nullptr); }
	void *data() const noexcept { return shmb_region_addr(r); }
	std::size_t size() const noexcept { return shmb_region_size(r); }
	const char *name() const noexcept { return shmb_region_name(r); }
	shmb_how how() const noexcept { return shmb_region_how(r); }
	bool is_owner() const noexcept { return shmb_region_is_owner(r); }
	void own() { check(shmb_region_own(r), name()); }
	void leak() { check(shmb_region_leak(r), name()); }
};

class arena {
	shmb_arena *a = nullptr;

public:
	arena(const char *name, const shmb_options &opt) { check(shmb_arena_open(name, &opt, &a), name); }
	/* A size of 0 attaches to whatever is there. */
	arena(const char *name, std::size_t size, unsigned flags = 0)
		: arena(name, shmb_options{size, 0, flags | (size ? 0u : unsigned{SHMB_ATTACH_ONLY}), nullptr})
	{
	}
	arena(arena &&other) noexcept : a(std::exchange(other.a, nullptr)) {}
	arena &operator=(arena &&other) noexcept
	{
		arena(std::move(other)).swap(*this);
		return *this;
	}
	~arena() { (void)shmb_arena_close(a); }
	void swap(arena &other) noexcept { std::swap(a, other.a); }

	shmb_arena *handle() const noexcept { return a; }
	operator shmb_arena *() const noexcept { return a; }
	shmb_region *region() const noexcept { return shmb_arena_region(a); }
	const char *name() const noexcept { return shmb_region_name(region()); }
	shmb_how how() const noexcept { return shmb_region_how(region()); }
	bool is_owner() const noexcept { return shmb_region_is_owner(region()); }
	bool is_fixed() const noexcept { return shmb_arena_is_fixed(a); }
	bool is_hardened() const noexcept { return shmb_arena_is_hardened(a); }
	std::size_t capacity() const noexcept { return shmb_arena_capacity(a); }
	void own() { check(shmb_region_own(region()), name()); }
	void leak() { check(shmb_region_leak(region()), name()); }
	void trim() noexcept { shmb_trim(a); }

	shmb_ref ref_of(const void *p) const noexcept { return shmb_ref_of(a, p); }
	/* The object that a ref names. SHMB_ECORRUPT: no T can lie there. */
	template <class T> T &at(shmb_ref ref) const
	{
		void *p = shmb_deref(a, ref, sizeof(T));
		if (!p || reinterpret_cast<std::uintptr_t>(p) % alignof(T))
			throw error(SHMB_ECORRUPT, name());
		return *static_cast<T *>(p);
	}
};

/* ---- memory -------------------------------------------------------------------- */

namespace detail {
inline void *allocate(shmb_arena *a, std::size_t bytes, std::size_t align)
{
	if (!a)
		throw std::bad_alloc();
	void *p = align <= 16 ? shmb_malloc(a, bytes) : shmb_aligned_alloc(a, align, bytes);
	if (!p)
		throw std::bad_alloc();
	return p;
}

/* The nodes in which libstdc++ keeps plain pointers, whatever the allocator's are. */
template <class T> inline constexpr bool has_plain_links = false;
#ifdef __GLIBCXX__
template <class T> inline constexpr bool has_plain_links<std::_List_node<T>> = true;
template <class T> inline constexpr bool has_plain_links<std::_Fwd_list_node<T>> = true;
template <class T> inline constexpr bool has_plain_links<std::_Rb_tree_node<T>> = true;
template <class T, bool C> inline constexpr bool has_plain_links<std::__detail::_Hash_node<T, C>> = true;
#endif
} // namespace detail

#ifdef __cpp_lib_memory_resource
/*
 * For std::pmr containers. These, and the resource, are objects of this
 * process: a pmr container has a pointer to a resource, which has virtual
 * functions. What it holds lies in the region; other processes get at that by
 * ref, or by pointer where the arena is fixed.
 */
class memory_resource : public std::pmr::memory_resource {
	shmb_arena *a;

	void *do_allocate(std::size_t bytes, std::size_t align) override { return detail::allocate(a, bytes, align); }
	void do_deallocate(void *p, std::size_t, std::size_t) override { shmb_free(a, p); }
	bool do_is_equal(const std::pmr::memory_resource &other) const noexcept override
	{
		auto *same = dynamic_cast<const memory_resource *>(&other);
		return same && same->a == a;
	}

public:
	explicit memory_resource(shmb_arena *arena) noexcept : a(arena) {}
	shmb_arena *handle() const noexcept { return a; }
};
#endif

/*
 * An allocator that lies in the region, in its container: it names the arena
 * by the region's first byte, and finds this process's handle by that. Void is
 * how it points: void * or offset_ptr<void>.
 */
template <class T, class Void> class basic_allocator {
	static constexpr bool plain = std::is_pointer_v<Void>;
	static_assert(!std::is_same_v<T, bool>, "vector<bool> points into words: take char");
	Void first;
	template <class, class> friend class basic_allocator;

public:
	using value_type = T;
	using pointer = typename std::pointer_traits<Void>::template rebind<T>;
	using const_pointer = typename std::pointer_traits<Void>::template rebind<const T>;
	using void_pointer = Void;
	using const_void_pointer = typename std::pointer_traits<Void>::template rebind<const void>;
	using size_type = std::size_t;
	using difference_type = std::ptrdiff_t;
	using propagate_on_container_move_assignment = std::true_type;
	using propagate_on_container_swap = std::true_type;
	using is_always_equal = std::false_type;
	template <class U> struct rebind {
		using other = basic_allocator<U, Void>;
	};

	/* SHMB_EADDRESS: plain pointers, and the arena is not at its own address here. */
	basic_allocator(shmb_arena *a) : first(shmb_region_addr(shmb_arena_region(a)))
	{
		if (plain && !shmb_arena_is_fixed(a))
			throw error(SHMB_EADDRESS, shmb_region_name(shmb_arena_region(a)));
	}
	basic_allocator(const arena &a) : basic_allocator(a.handle()) {}
	basic_allocator(const basic_allocator &) noexcept = default;
	basic_allocator &operator=(const basic_allocator &) noexcept = default;
	/* Also to an allocator that points otherwise; to plain ones only where that is right. */
	template <class U, class V>
	basic_allocator(const basic_allocator<U, V> &other) noexcept(!plain || std::is_pointer_v<V>)
		: first(static_cast<void *>(other.address()))
	{
		if (plain && !std::is_pointer_v<V>)
			*this = basic_allocator(other.handle());
	}

	pointer allocate(std::size_t n)
	{
		static_assert(plain || !detail::has_plain_links<T>,
		              "this library's container keeps plain pointers: shmb::fixed_allocator is for it");
		if (n > std::numeric_limits<std::ptrdiff_t>::max() / sizeof(T))
			throw std::bad_array_new_length();
		return pointer(static_cast<T *>(detail::allocate(handle(), n * sizeof(T), alignof(T))));
	}
	void deallocate(pointer p, std::size_t) noexcept { shmb_free(handle(), address_of(p)); }

	/* The arena as this process has it open; NULL: it has not. */
	shmb_arena *handle() const noexcept { return shmb_arena_of(address()); }
	void *address() const noexcept { return address_of(first); }

private:
	template <class U> static void *address_of(U *p) noexcept { return p; }
	template <class U> static void *address_of(const offset_ptr<U> &p) noexcept { return p.get(); }
};

template <class T, class U, class Void>
bool operator==(const basic_allocator<T, Void> &a, const basic_allocator<U, Void> &b) noexcept
{
	return a.address() == b.address();
}
template <class T, class U, class Void>
bool operator!=(const basic_allocator<T, Void> &a, const basic_allocator<U, Void> &b) noexcept
{
	return !(a == b);
}

template <class T> using allocator = basic_allocator<T, offset_ptr<void>>;
template <class T> using fixed_allocator = basic_allocator<T, void *>;

/* ---- containers ------------------------------------------------------------------- */

/* Which of a library's containers keep an allocator's pointers, so that they can be read at any address. */
#ifdef _LIBCPP_VERSION
inline constexpr bool nodes_anywhere = true, blocks_anywhere = false;
#else
inline constexpr bool nodes_anywhere = false, blocks_anywhere = true;
#endif
template <class T> using node_allocator = std::conditional_t<nodes_anywhere, allocator<T>, fixed_allocator<T>>;
template <class T> using block_allocator = std::conditional_t<blocks_anywhere, allocator<T>, fixed_allocator<T>>;

/* Scoped: what is made in them, keys and strings too, gets the allocator passed on. */
template <class T> using nested = std::scoped_allocator_adaptor<allocator<T>>;
template <class T> using node_nested = std::scoped_allocator_adaptor<node_allocator<T>>;

using string = std::basic_string<char, std::char_traits<char>, block_allocator<char>>;
template <class T> using vector = std::vector<T, nested<T>>;
template <class T> using deque = std::deque<T, std::scoped_allocator_adaptor<block_allocator<T>>>;
template <class T> using list = std::list<T, node_nested<T>>;
template <class T, class Less = std::less<>> using set = std::set<T, Less, node_nested<T>>;
template <class K, class V, class Less = std::less<>> using map = std::map<K, V, Less, node_nested<std::pair<const K, V>>>;
template <class K, class V, class Hash = std::hash<K>, class Equal = std::equal_to<>>
using unordered_map = std::unordered_map<K, V, Hash, Equal, node_nested<std::pair<const K, V>>>;

/* Where an object of T means something: specialise it for a class of your own that has such members. */
enum class placement { anywhere, one_address, nowhere };

namespace detail {
constexpr placement worse(placement a, placement b) { return a > b ? a : b; }

template <class Allocator> inline constexpr placement allocator_placement = placement::nowhere;
template <class T> inline constexpr placement allocator_placement<allocator<T>> = placement::anywhere;
template <class T> inline constexpr placement allocator_placement<fixed_allocator<T>> = placement::one_address;
template <class A> inline constexpr placement allocator_placement<std::scoped_allocator_adaptor<A>> = allocator_placement<A>;

template <class T, class = void> struct placed {
	static constexpr placement value = std::is_pointer_v<T> ? placement::one_address : placement::anywhere;
};
} // namespace detail

template <class T> inline constexpr placement placement_of = detail::placed<std::remove_cv_t<T>>::value;

namespace detail {
template <class T> struct placed<T, std::void_t<typename T::allocator_type, typename T::value_type>> {
	static constexpr placement value =
		worse(allocator_placement<typename T::allocator_type>, placement_of<typename T::value_type>);
};
template <class A, class B> struct placed<std::pair<A, B>> {
	static constexpr placement value = worse(placement_of<A>, placement_of<B>);
};
} // namespace detail

/* ---- boxes ------------------------------------------------------------------------ */

/*
 * The name by which a type is known to all processes. The compiler's own does
 * among C++ programs; to share a type with C, specialise it:
 *
 *   template <> inline const char *const shmb::type_name<point> = "struct point";
 */
template <class T> inline const char *const type_name = typeid(T).name();

template <class T> const shmb_type &type_of()
{
	static_assert(!std::is_polymorphic_v<T>, "virtual functions mean nothing in another process");
	static const shmb_type it = {type_name<T>, sizeof(T), alignof(T), [](void *obj) { static_cast<T *>(obj)->~T(); }};
	return it;
}

/*
 * A box. Where it was made by this object, or owned with own(), it is dropped
 * when this goes: the destructor of T runs and the memory is freed. Else, also
 * where another part of this process made it, it stays. keep() ends ownership.
 * One over a raw region is dropped as shmb_box_drop() says, by anybody.
 */
template <class T> class box {
	static_assert(placement_of<T> != placement::nowhere, "its memory would be this process's own");
	shmb_box *b = nullptr;
	bool drops = false;
	box(shmb_box *it, bool made) noexcept : b(it), drops(made) {}

	template <class... Args> struct maker {
		std::tuple<Args &&...> args;
		std::exception_ptr thrown;
		static int run(void *obj, void *self) noexcept
		{
			auto *m = static_cast<maker *>(self);
			try {
				std::apply([obj](auto &&...a) { ::new (obj) T(std::forward<decltype(a)>(a)...); }, std::move(m->args));
				return 0;
			} catch (...) {
				m->thrown = std::current_exception();
				return ECANCELED;
			}
		}
	};
	template <class Open, class... Args> static box make(const char *what, Open open, Args &&...args)
	{
		maker<Args...> m{std::tuple<Args &&...>(std::forward<Args>(args)...), nullptr};
		shmb_box *it = nullptr;
		shmb_how how = SHMB_CREATED;
		int err = open(&maker<Args...>::run, &m, &it, &how);
		if (m.thrown)
			std::rethrow_exception(m.thrown);
		check(err, what);
		return box(it, how == SHMB_CREATED);
	}
	static void check_place(shmb_arena *a)
	{
		if (placement_of<T> == placement::one_address && !shmb_arena_is_fixed(a))
			throw error(SHMB_EADDRESS, shmb_region_name(shmb_arena_region(a)));
	}

public:
	/* Nobody's name: other processes get at it by ref(). */
	template <class... Args> static box make_new(shmb_arena *a, Args &&...args)
	{
		check_place(a);
		auto open = [a](shmb_init *init, void *arg, shmb_box **out, shmb_how *) {
			return shmb_box_new(a, &type_of<T>(), init, arg, out);
		};
		return make(type_name<T>, open, std::forward<Args>(args)...);
	}
	/* Made with `args` by one process, found by the others. */
	template <class... Args> static box find_or_new(shmb_arena *a, const char *name, Args &&...args)
	{
		check_place(a);
		auto open = [a, name](shmb_init *init, void *arg, shmb_box **out, shmb_how *how) {
			return shmb_box_find_or_new(a, name, &type_of<T>(), init, arg, out, how);
		};
		return make(name, open, std::forward<Args>(args)...);
	}
	static box find(shmb_arena *a, const char *name)
	{
		shmb_box *found;
		check_place(a);
		check(shmb_box_find(a, name, &type_of<T>(), &found), name);
		return box(found, false);
	}
	static box at(shmb_arena *a, std::uint64_t ref)
	{
		shmb_box *found;
		check_place(a);
		check(shmb_box_at(a, ref, &type_of<T>(), &found), type_name<T>);
		return box(found, false);
	}
	/* Over a whole raw region, which it takes. The object is as the region has it: a new one is zeros. */
	explicit box(region &&r) : drops(true)
	{
		static_assert(std::is_trivially_default_constructible_v<T>, "no constructor runs for it");
		check(shmb_region_box(r.handle(), &type_of<T>(), &b), r.name());
		(void)r.release();
	}
	box(box &&other) noexcept : b(std::exchange(other.b, nullptr)), drops(other.drops) {}
	box &operator=(box &&other) noexcept
	{
		box(std::move(other)).swap(*this);
		return *this;
	}
	~box()
	{
		if (b && drops)
			(void)shmb_box_drop(b);
	}
	void swap(box &other) noexcept
	{
		std::swap(b, other.b);
		std::swap(drops, other.drops);
	}

	T *get() const noexcept { return static_cast<T *>(shmb_box_get(b)); }
	T *operator->() const noexcept { return get(); }
	T &operator*() const noexcept { return *get(); }
	shmb_box *handle() const noexcept { return b; }
	bool is_owner() const noexcept { return shmb_box_is_owner(b); }
	std::uint64_t ref() const noexcept { return shmb_box_ref(b); }
	void own()
	{
		check(shmb_box_own(b), type_name<T>);
		drops = true;
	}

	/* The object lives on, nobody's, and this is empty. */
	void keep()
	{
		check(shmb_box_leak(b), type_name<T>);
		b = nullptr;
	}
};

} // namespace shmb

/* By the text, as std::hash<std::string>. */
template <> struct std::hash<shmb::string> {
	std::size_t operator()(const shmb::string &s) const noexcept
	{
		return std::hash<std::string_view>()(std::string_view(s.data(), s.size()));
	}
};

template <class T> struct std::hash<shmb::offset_ptr<T>> {
	std::size_t operator()(const shmb::offset_ptr<T> &p) const noexcept { return std::hash<T *>()(p.get()); }
};

#endif
