"""Regions, heaps and boxes of libshmbind in Python, by ctypes. Nothing is copied:
a memoryview or numpy array of a box is the memory that other processes see.

    import shmbind

    with shmbind.Arena("/prices", 1 << 30) as heap:
        table = shmbind.Type("double[1000]", 8 * 1000, align=8)
        with heap.find_or_new("table", table) as box:
            box.array("f8")[:] = 1.5

shmbind.h says what the functions guarantee. An error it names is raised as
Error, with its code; an errno as the OSError that Python has for it; no memory
as MemoryError. LIBSHMBIND says where the library is, if it is neither where `make
install` puts it beside this module nor the loader knows.

Memory that is still seen through a memoryview, an array or a structure is not
unmapped or freed: close(), drop() and free() raise BufferError then, as
mmap.close() does. Another process may free it all the same: the view stays
readable while the region is open, but then shows whatever comes to lie there.
Destructors cannot be written in Python, since they may run after it has ended.
"""
import atexit
import ctypes
import itertools
import json
import os
import weakref
from ctypes import CFUNCTYPE, POINTER, Structure, byref, c_char_p, c_int, c_size_t, c_uint, c_uint64, c_void_p

__all__ = ["Arena", "Block", "Box", "Error", "Region", "Type", "check", "stats", "version"]

CREATED, ATTACHED, CLAIMED = 1, 2, 3
CREATE_ONLY, ATTACH_ONLY, READ_ONLY, ANY_USER, FIXED, REPLACE, REAPER, SPARSE, HARDENED = (1 << bit for bit in range(9))
EFORMAT, ECORRUPT, EOWNED, ENOTOWNER, EFOREIGN, EADDRESS, ESLOTS, ETYPE, ETOOSMALL, EGONE = range(-1, -11, -1)
_HOW = {CREATED: "created", ATTACHED: "attached", CLAIMED: "claimed"}


class _Options(Structure):
    _fields_ = [("size", c_size_t), ("mode", c_uint), ("flags", c_uint), ("run", c_char_p)]


class _Type(Structure):
    _fields_ = [("name", c_char_p), ("size", c_size_t), ("align", c_size_t), ("drop", c_void_p)]


_Init = CFUNCTYPE(c_int, c_void_p, c_void_p)
_Write = CFUNCTYPE(None, c_void_p, c_char_p)
_Handle = POINTER(c_void_p)
_FUNCTIONS = {  # name: result, arguments
    "shmb_version": (c_char_p,),
    "shmb_strerror": (c_char_p, c_int),
    "shmb_region_open": (c_int, c_char_p, POINTER(_Options), _Handle),
    "shmb_region_addr": (c_void_p, c_void_p),
    "shmb_region_size": (c_size_t, c_void_p),
    "shmb_region_name": (c_char_p, c_void_p),
    "shmb_region_how": (c_int, c_void_p),
    "shmb_region_is_owner": (c_int, c_void_p),
    "shmb_region_own": (c_int, c_void_p),
    "shmb_region_leak": (c_int, c_void_p),
    "shmb_region_close": (c_int, c_void_p),
    "shmb_arena_open": (c_int, c_char_p, POINTER(_Options), _Handle),
    "shmb_arena_close": (c_int, c_void_p),
    "shmb_arena_region": (c_void_p, c_void_p),
    "shmb_arena_capacity": (c_size_t, c_void_p),
    "shmb_arena_is_fixed": (c_int, c_void_p),
    "shmb_arena_is_hardened": (c_int, c_void_p),
    "shmb_calloc": (c_void_p, c_void_p, c_size_t, c_size_t),
    "shmb_free": (None, c_void_p, c_void_p),
    "shmb_ref_of": (c_uint64, c_void_p, c_void_p),
    "shmb_deref": (c_void_p, c_void_p, c_uint64, c_size_t),
    "shmb_trim": (None, c_void_p),
    "shmb_recover": (c_int, c_void_p),
    "shmb_box_new": (c_int, c_void_p, POINTER(_Type), _Init, c_void_p, _Handle),
    "shmb_box_find": (c_int, c_void_p, c_char_p, POINTER(_Type), _Handle),
    "shmb_box_find_or_new": (c_int, c_void_p, c_char_p, POINTER(_Type), _Init, c_void_p, _Handle, POINTER(c_int)),
    "shmb_box_at": (c_int, c_void_p, c_uint64, POINTER(_Type), _Handle),
    "shmb_box_ref": (c_uint64, c_void_p),
    "shmb_box_get": (c_void_p, c_void_p),
    "shmb_box_is_owner": (c_int, c_void_p),
    "shmb_box_own": (c_int, c_void_p),
    "shmb_box_leak": (c_int, c_void_p),
    "shmb_box_drop": (c_int, c_void_p),
    "shmb_stats_name": (c_int, c_char_p, _Write, c_void_p, c_char_p),
    "shmb_check_name": (c_int, c_char_p, _Write, c_void_p),
}


def _load():
    beside = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../libshmbind.so.0") # lib/python3/dist-packages
    name = os.environ.get("LIBSHMBIND") or (beside if os.path.exists(beside) else "libshmbind.so.0")
    lib = ctypes.CDLL(name, use_errno=True)
    for name, (result, *arguments) in _FUNCTIONS.items():
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    return lib


_lib = _load()

# ---- errors --------------------------------------------------------------------


class Error(Exception):
    """An error of the library that is no errno: `code` is ETYPE, EOWNED, ..."""

    def __init__(self, code, text, what):
        super().__init__(f"{what}: {text}")
        self.code = code


def _check(result, what):
    if result == 0:
        return
    text = _lib.shmb_strerror(result).decode()
    raise OSError(result, text, what) if result > 0 else Error(result, text, what)


def _encode(name):
    if "\0" in name:
        raise ValueError("a name with a zero byte")
    return name.encode()


def version():
    return _lib.shmb_version().decode()


# ---- memory that is seen without a copy -------------------------------------------


_numbers = itertools.count()


class _Seen:
    """Hands out views of memory, and knows whether any of them is still used."""

    def __init__(self):
        self._views = weakref.WeakValueDictionary()

    def _see(self, kind, address, *others):
        """An object of a ctypes type that lies there. Whatever looks through it keeps it alive."""
        seen, number = kind.from_address(address), next(_numbers)
        for it in (self, *others):
            it._views[number] = seen
        return seen

    def _end_views(self, what):
        if len(self._views):
            raise BufferError(f"{what}: a memoryview, array or structure of it is still in use")


class _Memory(_Seen):
    """A piece of memory in a region; `_place()` says at which address and of what size."""

    def __init__(self, region):
        super().__init__()
        self._region = region

    def view(self):
        """The bytes, as a memoryview; read-only where the region was opened so."""
        address, size = self._place()
        view = memoryview(self._see(ctypes.c_ubyte * size, address, self._region)).cast("B")
        return view.toreadonly() if self._region.read_only else view

    def array(self, dtype="u1", shape=-1):
        """The same as a numpy array."""
        import numpy

        view = self.view()
        dtype = numpy.dtype(dtype)
        if isinstance(shape, int) and shape == -1:
            return numpy.frombuffer(view, dtype, len(view) // dtype.itemsize)
        return numpy.frombuffer(view, dtype, int(numpy.prod(shape))).reshape(shape)

    def structure(self, kind):
        """The same as an object of a ctypes type, read and written in place."""
        address, size = self._place()
        if self._region.read_only:
            raise PermissionError(f"{self._region.name}: opened read-only, a structure could be written to")
        if ctypes.sizeof(kind) > size or address % ctypes.alignment(kind):
            raise ValueError(f"{kind.__name__} does not fit: it has {ctypes.sizeof(kind)} bytes, there are {size}")
        return self._see(kind, address, self._region)


# ---- regions and arenas --------------------------------------------------------------

_open = weakref.WeakSet()


class _Opened:
    """What regions and arenas have in common: a handle that is closed once, and an owner."""

    def _begin(self, function, name, size, mode, flags):
        if size == 0:
            flags |= ATTACH_ONLY
        handle = c_void_p()
        _check(function(_encode(name), byref(_Options(size, mode, flags)), byref(handle)), name)
        self.read_only = bool(flags & READ_ONLY)
        self._handle = handle
        _open.add(self)

    def _at(self):
        if not self._handle:
            raise ValueError("closed")
        return self._handle

    def _end(self, function):
        if self._handle:
            self._end_views(self.name)
            handle, self._handle = self._handle, None
            _check(function(handle), "close")

    name = property(lambda self: _lib.shmb_region_name(self._raw()).decode())
    how = property(lambda self: _HOW[_lib.shmb_region_how(self._raw())], doc="created, attached or claimed")
    is_owner = property(lambda self: bool(_lib.shmb_region_is_owner(self._raw())))
    closed = property(lambda self: not self._handle)

    def own(self):
        """Makes this process the owner, which removes the name."""
        _check(_lib.shmb_region_own(self._raw()), self.name)

    def leak(self):
        """Keeps the region when everybody has left."""
        _check(_lib.shmb_region_leak(self._raw()), self.name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Region(_Opened, _Memory):
    """A raw region: all its bytes are the user's. Size 0 attaches to whatever is there."""

    def __init__(self, name, size=0, mode=0, flags=0):
        super().__init__(self)
        self._handle = None
        self._begin(_lib.shmb_region_open, name, size, mode, flags)

    def _raw(self):
        return self._at()

    def _place(self):
        return _lib.shmb_region_addr(self._at()), self.size

    size = property(lambda self: _lib.shmb_region_size(self._at()))

    def close(self):
        self._end(_lib.shmb_region_close)


class Arena(_Opened, _Seen):
    """A heap in a region. Size 0 attaches to what is there; with READ_ONLY nothing can be changed."""

    def __init__(self, name, size=0, mode=0, flags=0):
        super().__init__()
        self._handle = None
        self._begin(_lib.shmb_arena_open, name, size, mode, flags)

    def _raw(self):
        return _lib.shmb_arena_region(self._at())

    capacity = property(lambda self: _lib.shmb_arena_capacity(self._at()))
    is_fixed = property(lambda self: bool(_lib.shmb_arena_is_fixed(self._at())))
    is_hardened = property(lambda self: bool(_lib.shmb_arena_is_hardened(self._at())))

    def close(self):
        self._end(_lib.shmb_arena_close)

    # blocks

    def malloc(self, size):
        """A block of zeros. It lives until somebody, here or elsewhere, frees it."""
        address = _lib.shmb_calloc(self._at(), 1, size)
        if not address:
            raise MemoryError(f"{self.name}: no {size} bytes: {os.strerror(ctypes.get_errno())}")
        return Block(self, address, size)

    def block(self, ref, size):
        """The block that another process names by its ref."""
        address = _lib.shmb_deref(self._at(), ref, size)
        if not address:
            raise LookupError(f"{self.name}: no {size} bytes in use at {ref:#x}")
        return Block(self, address, size)

    def trim(self):
        """Gives back all memory that this process can."""
        _lib.shmb_trim(self._at())

    def recover(self):
        """Hands on what dead processes held; how many there were."""
        return _lib.shmb_recover(self._at())

    # boxes

    def new(self, type, init=None):
        """An anonymous box, owned by this process. Others get at it by its ref."""
        return self._make(lambda run, out, how: _lib.shmb_box_new(self._at(), type.ptr, run, None, out), type, init, type.name)

    def find_or_new(self, name, type, init=None):
        """The box of that name; where there is none, one process of all that ask makes and owns it."""
        it = _encode(name)
        return self._make(
            lambda run, out, how: _lib.shmb_box_find_or_new(self._at(), it, type.ptr, run, None, out, how), type, init, name
        )

    def find(self, name, type):
        out = c_void_p()
        _check(_lib.shmb_box_find(self._at(), _encode(name), type.ptr, byref(out)), name)
        return Box(self, out, type, False)

    def at(self, ref, type):
        """The box that another process names by its ref."""
        out = c_void_p()
        _check(_lib.shmb_box_at(self._at(), ref, type.ptr, byref(out)), f"{ref:#x}")
        return Box(self, out, type, False)

    def _make(self, function, type, init, what):
        raised = []

        def run(address, _):
            try:
                with memoryview((ctypes.c_ubyte * type.size).from_address(address)).cast("B") as view:
                    if callable(init):
                        init(view)
                    elif init is not None:
                        view[: len(init)] = init
                return 0
            except BaseException as e:  # it must not pass through C
                raised.append(e)
                return 1

        out, how = c_void_p(), c_int(CREATED)
        result = function(_Init(run), byref(out), byref(how))
        if raised:
            raise raised[0]
        _check(result, what)
        return Box(self, out, type, how.value == CREATED)


class Block(_Memory):
    """One allocation; `ref` is its name for other processes."""

    def __init__(self, arena, address, size):
        super().__init__(arena)
        self._address, self.size = address, size

    def _place(self):
        self._region._at()
        if self._address is None:
            raise ValueError("freed")
        return self._address, self.size

    ref = property(lambda self: _lib.shmb_ref_of(self._region._at(), self._place()[0]))

    def free(self):
        """Not twice, and not what another process has freed: the library aborts the process then."""
        address, _ = self._place()
        if self._region.read_only:
            raise PermissionError(f"{self._region.name}: opened read-only")
        self._end_views(f"{self._region.name}: a block")
        self._address = None
        _lib.shmb_free(self._region._at(), address)


class Type:
    """A type as all sides must name it. Instead of its size, a ctypes type that has it."""

    def __init__(self, name, size, align=None):
        if not isinstance(size, int):
            size, align = ctypes.sizeof(size), align or ctypes.alignment(size)
        if align is None:
            raise TypeError(f"{name}: a size in bytes needs align, too")
        self.name, self.size, self.align = name, size, align
        # never freed: the library keeps what it was given
        self.ptr = _types.setdefault((name, size, align), ctypes.pointer(_Type(_encode(name), size, align, None)))


_types = {}


class Box(_Memory):
    """One object with an owner. As a context manager it is dropped where it was made here, else left."""

    def __init__(self, arena, handle, type, made):
        super().__init__(arena)
        self._box, self.type, self.created = handle, type, made
        self._drops = made

    def _at(self):
        self._region._at()
        if not self._box:
            raise ValueError("dropped")
        return self._box

    def _place(self):
        return _lib.shmb_box_get(self._at()), self.type.size

    ref = property(lambda self: _lib.shmb_box_ref(self._at()))
    is_owner = property(lambda self: bool(_lib.shmb_box_is_owner(self._at())))

    def own(self):
        _check(_lib.shmb_box_own(self._at()), self.type.name)
        self._drops = True

    def leak(self):
        """The box lives on, nobody's."""
        _check(_lib.shmb_box_leak(self._at()), self.type.name)
        self._drops = False

    def drop(self):
        """Ends the object for all processes. Only its owner may."""
        handle = self._at()
        if self.is_owner:
            self._end_views(self.type.name)
        _check(_lib.shmb_box_drop(handle), self.type.name)
        self._box = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._drops and self._box and not self._region.closed:
            self.drop()


# ---- looking from outside ---------------------------------------------------------------


def _told(function, name, *arguments):
    pieces = []
    result = function(_encode(name), _Write(lambda _, text: pieces.append(text)), None, *arguments)
    return result, b"".join(pieces).decode()


def stats(name):
    """The statistics of an arena by name, as `shmbind stats --json`."""
    result, text = _told(_lib.shmb_stats_name, name, b"J")
    _check(result, name)
    return json.loads(text)


def check(name):
    """Walks every invariant of an arena by name: what `shmbind check` prints. Contradictions are an Error."""
    result, text = _told(_lib.shmb_check_name, name)
    if result == ECORRUPT:
        raise Error(result, text.strip(), name)
    _check(result, name)
    return text.strip()


@atexit.register
def _close_all():
    """While views can still be asked; what they hold open the library unlinks at exit."""
    for it in list(_open):
        try:
            it.close()
        except BufferError:
            pass
