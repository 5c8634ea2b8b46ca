/* The floor of a build in which nothing changed: a process starts, lists a tree and asks for the
 * attributes of each file, on as many threads as there are arguments say.
 *
 *   cc -O2 -pthread -o walk walk.c             as most programs are
 *   cc -O2 -pthread -static -o walk-static walk.c
 *   ./walk THREADS DIRECTORY
 *
 * One directory below DIRECTORY at a time is a thread's; that is enough for the trees of
 * `cargo xtask bench`, which have a hundred files in each.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static char **names;
static int count, top;
static atomic_int next;
static atomic_long files;

struct entry {
	unsigned long ino;
	long offset;
	unsigned short length;
	unsigned char type;
	char name[];
};

/* Calls `each` for the names in an open directory. */
static void list(int dir, void (*each)(int, struct entry *))
{
	char buffer[1 << 16];
	long got;

	while ((got = syscall(SYS_getdents64, dir, buffer, sizeof buffer)) > 0)
		for (long at = 0; at < got;) {
			struct entry *entry = (void *)(buffer + at);
			if (strcmp(entry->name, ".") && strcmp(entry->name, ".."))
				each(dir, entry);
			at += entry->length;
		}
}

static void look(int dir, struct entry *entry)
{
	struct statx data;

	if (statx(dir, entry->name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_BASIC_STATS, &data))
		exit(1);
	atomic_fetch_add(&files, 1);
}

static void keep(int dir, struct entry *entry)
{
	(void)dir;
	names = realloc(names, (count + 1) * sizeof *names);
	names[count++] = strdup(entry->name);
}

static void *work(void *unused)
{
	int number;

	while ((number = atomic_fetch_add(&next, 1)) < count) {
		int dir = openat(top, names[number], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (dir < 0)
			continue;
		list(dir, look);
		close(dir);
	}
	return unused;
}

int main(int argc, char **argv)
{
	pthread_t threads[64];
	int helpers;

	if (argc != 3 || (top = open(argv[2], O_RDONLY | O_DIRECTORY)) < 0)
		return 2;
	helpers = atoi(argv[1]) - 1;
	list(top, keep);
	for (int at = 0; at < helpers && at < 64; at++)
		pthread_create(&threads[at], NULL, work, NULL);
	work(NULL);
	for (int at = 0; at < helpers && at < 64; at++)
		pthread_join(threads[at], NULL);
	printf("%ld\n", atomic_load(&files));
	return 0;
}
