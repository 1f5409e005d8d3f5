/*
 * message_passing.c - one value, two processes, one owner.
 *
 * The first process creates a typed box in shared memory, owns it and sets
 * its value. It starts this program again as the second process, which
 * attaches to the box and changes the value. Both drop the box when it leaves
 * its scope: in the second that only lets go; in the first, the owner, the
 * destructor runs and the name is removed.
 *
 *   cc message_passing.c $(pkg-config --cflags --libs shmbind)
 */
#include <shmbind.h>

#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

struct message {
	int value;
};

static void message_drop(void *obj)
{
	const struct message *m = obj;
	printf("destructor: the value was %d\n", m->value);
}

static const shmb_type message_type = SHMB_TYPE(struct message, message_drop);

/* Opens the box: creates it where there is none, else attaches to it. */
static shmb_box *message_open(const char *name)
{
	shmb_options opt = {.size = sizeof(struct message)};
	shmb_region *region;
	shmb_box *box;
	int err = shmb_region_open(name, &opt, &region);
	if (!err)
		err = shmb_region_box(region, &message_type, &box);
	if (err) {
		fprintf(stderr, "%s: %s\n", name, shmb_strerror(err));
		exit(1);
	}
	return box;
}

/* Runs this program as the second process and waits for its end. */
static int run_second(const char *self, const char *name)
{
	extern char **environ;
	char *const argv[] = {(char *)self, (char *)name, "second", NULL};
	pid_t pid;
	int status;
	fflush(stdout);
	if (posix_spawn(&pid, "/proc/self/exe", NULL, NULL, argv, environ) || waitpid(pid, &status, 0) != pid)
		return 1;
	return status;
}

static int first(const char *self, const char *name)
{
	SHMB_SCOPED shmb_box *box = message_open(name);
	struct message *m = shmb_box_get(box);
	if (!shmb_box_is_owner(box)) {
		fprintf(stderr, "%s: is somebody else's\n", name);
		return 1;
	}
	m->value = 1;
	printf("first: owns the box, sets the value to %d\n", m->value);
	int status = run_second(self, name);
	printf("first: the value is %d, drops the box\n", m->value);
	return status;
}

static int second(const char *name)
{
	SHMB_SCOPED shmb_box *box = message_open(name);
	struct message *m = shmb_box_get(box);
	printf("second: %s the box, the value is %d, sets it to 2\n",
	       shmb_box_is_owner(box) ? "owns" : "does not own", m->value);
	m->value = 2;
	printf("second: drops the box\n");
	return 0;
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "/message_passing";
	return argc > 2 ? second(name) : first(argv[0], name);
}
