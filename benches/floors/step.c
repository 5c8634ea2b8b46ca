/* The floor of a RUN step that does nothing: what the kernel alone takes for it. A process enters
 * the namespaces that a step of kiln has, mounts an overlay on a root file system, makes it the
 * root, and executes `/bin/sh -c true` there; the next one begins when all of that is gone.
 *
 *   cc -O2 -static -o step step.c
 *   ./step COUNT ROOT SCRATCH [full]
 *
 * SCRATCH is on the file system that stores would be on. With `full` the root also gets what a
 * process finds in a container: /proc, a /dev with its usual nodes, /sys, /dev/shm, /dev/pts, and
 * masks over what it is not to see. Prints microseconds for one step.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *root, *scratch;
static int full;

static void must(long result, const char *what)
{
	if (result < 0) {
		perror(what);
		exit(1);
	}
}

static void bind_null(const char *path)
{
	/* What this kernel has not needs no mask. */
	mount("/dev/null", path, NULL, MS_BIND, NULL);
}

static void fill(void)
{
	static const char *nodes[] = {"null", "zero", "full", "random", "urandom", "tty"};
	static const char *masks[] = {"/proc/kcore", "/proc/keys", "/proc/latency_stats",
				      "/proc/timer_list", "/proc/sched_debug", "/proc/sysrq-trigger"};
	static const char *read_only[] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys"};
	char path[64], from[64];

	must(mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL), "proc");
	must(mount("tmpfs", "/dev", "tmpfs", MS_NOSUID, "mode=755"), "dev");
	for (unsigned at = 0; at < sizeof nodes / sizeof *nodes; at++) {
		snprintf(path, sizeof path, "/dev/%s", nodes[at]);
		snprintf(from, sizeof from, "/old/dev/%s", nodes[at]);
		close(open(path, O_CREAT | O_WRONLY, 0666));
		must(mount(from, path, NULL, MS_BIND, NULL), path);
	}
	mkdir("/dev/pts", 0755);
	mkdir("/dev/shm", 0755);
	mkdir("/dev/mqueue", 0755);
	must(mount("devpts", "/dev/pts", "devpts", 0, "newinstance,ptmxmode=0666"), "pts");
	must(mount("shm", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, NULL), "shm");
	must(mount("mqueue", "/dev/mqueue", "mqueue", 0, NULL), "mqueue");
	mount("/old/sys", "/sys", NULL, MS_BIND | MS_REC, NULL);
	for (unsigned at = 0; at < sizeof masks / sizeof *masks; at++)
		bind_null(masks[at]);
	for (unsigned at = 0; at < sizeof read_only / sizeof *read_only; at++)
		if (!mount(read_only[at], read_only[at], NULL, MS_BIND, NULL))
			mount(NULL, read_only[at], NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL);
}

static void inside(const char *merged)
{
	char *words[] = {"sh", "-c", "true", NULL};
	char *variables[] = {"PATH=/usr/bin:/bin", NULL};

	must(chdir(merged), "chdir");
	mkdir("old", 0700);
	must(syscall(SYS_pivot_root, ".", "old"), "pivot_root");
	must(chdir("/"), "chdir");
	if (full)
		fill();
	must(umount2("/old", MNT_DETACH), "umount");
	execve("/bin/sh", words, variables);
	must(-1, "exec");
}

static void step(int number)
{
	char upper[4096], work[4096], merged[4096], options[16384];
	int status;
	pid_t child;

	snprintf(upper, sizeof upper, "%s/upper%d", scratch, number);
	snprintf(work, sizeof work, "%s/work%d", scratch, number);
	snprintf(merged, sizeof merged, "%s/merged", scratch);
	mkdir(merged, 0755);
	must(mkdir(upper, 0755), upper);
	must(mkdir(work, 0755), work);
	child = fork();
	must(child, "fork");
	if (child == 0) {
		must(unshare(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP),
		     "unshare");
		must(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), "private");
		snprintf(options, sizeof options, "lowerdir=%s,upperdir=%s,workdir=%s", root, upper, work);
		must(mount("overlay", merged, "overlay", 0, options), "overlay");
		child = fork();
		must(child, "fork");
		if (child == 0)
			inside(merged);
		must(waitpid(child, &status, 0), "wait");
		_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
	}
	must(waitpid(child, &status, 0), "wait");
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		exit(1);
}

int main(int argc, char **argv)
{
	struct timespec from, to;
	int count;

	if (argc < 4)
		return 2;
	count = atoi(argv[1]);
	root = argv[2];
	scratch = argv[3];
	full = argc > 4 && !strcmp(argv[4], "full");
	must(unshare(CLONE_NEWNS), "unshare");
	must(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), "private");
	clock_gettime(CLOCK_MONOTONIC, &from);
	for (int number = 0; number < count; number++)
		step(number);
	clock_gettime(CLOCK_MONOTONIC, &to);
	printf("%.0f us\n", ((to.tv_sec - from.tv_sec) * 1e9 + (to.tv_nsec - from.tv_nsec)) / 1e3 / count);
	return 0;
}
