//! Which calls are allowed: Docker's default profile, rule by rule.
//!
//! From moby's default profile as of Linux 6.13, for the architectures in
//! [`super::syscalls::TABLE`]. Rules that depend on the kernel's version are taken as met: kiln needs
//! Linux 5.12.

use crate::capabilities::{Capability, CapabilitySet};

use super::Architecture;

/// What happens to the calls of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// The call is made.
    Allow,
    /// The call is made if one of the conditions holds, and fails with `EPERM` otherwise.
    AllowIf(&'static [Condition]),
    /// The call fails with this error number.
    Fail(u16),
}

/// A test of one argument, by index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    /// It equals the value.
    Equals(u8, u64),
    /// None of the bits is set.
    NoneOf(u8, u32),
    /// It is in one of the ranges, both ends included; they are ascending.
    Within(u8, &'static [(u32, u32)]),
}

/// When a rule applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    Always,
    With(Capability),
    Without(Capability),
    On(&'static [Architecture]),
}

impl When {
    pub(super) fn holds(self, architecture: Architecture, capabilities: CapabilitySet) -> bool {
        match self {
            Self::Always => true,
            Self::With(capability) => capabilities.contains(capability),
            Self::Without(capability) => !capabilities.contains(capability),
            Self::On(architectures) => architectures.contains(&architecture),
        }
    }
}

/// One rule: names separated by white space.
pub(super) struct Rule {
    pub(super) calls: &'static str,
    pub(super) when: When,
    pub(super) then: Then,
}

const fn allow(when: When, calls: &'static str) -> Rule {
    Rule {
        calls,
        when,
        then: Then::Allow,
    }
}

const ENOSYS: u16 = 38;

/// `CLONE_NEWNS | NEWCGROUP | NEWUTS | NEWIPC | NEWUSER | NEWPID | NEWNET`.
const NEW_NAMESPACES: u32 = 0x7e02_0000;

/// Address families of `socket(2)`. Out are those that the kernel dropped and two on purpose:
/// `AF_ALG` (38), kernel code that no build needs, and `AF_VSOCK` (40), which reaches other machines
/// past the network namespace.
const ADDRESS_FAMILIES: &[(u32, u32)] = &[
    (0, 11),
    (13, 18),
    (21, 22),
    (24, 24),
    (26, 33),
    (35, 36),
    (39, 39),
    (41, 45),
];

/// `PER_LINUX`, `PER_LINUX32`, the same two with `UNAME26`, and the question for the current one.
const PERSONALITIES: &[Condition] = &[
    Condition::Equals(0, 0),
    Condition::Equals(0, 0x0008),
    Condition::Equals(0, 0x2_0000),
    Condition::Equals(0, 0x2_0008),
    Condition::Equals(0, 0xffff_ffff),
];

/// The profile. A later rule for a call replaces an earlier one.
pub(super) const RULES: &[Rule] = &[
    allow(When::Always, ALWAYS),
    Rule {
        calls: "socket",
        when: When::Always,
        then: Then::AllowIf(&[Condition::Within(0, ADDRESS_FAMILIES)]),
    },
    Rule {
        calls: "personality",
        when: When::Always,
        then: Then::AllowIf(PERSONALITIES),
    },
    allow(
        When::On(&[Architecture::Arm, Architecture::Aarch64]),
        "arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls",
    ),
    allow(
        When::On(&[Architecture::X86_64, Architecture::X32]),
        "arch_prctl",
    ),
    allow(
        When::On(&[Architecture::X86_64, Architecture::X32, Architecture::I386]),
        "modify_ldt",
    ),
    Rule {
        calls: "clone",
        when: When::Without(Capability::SysAdmin),
        then: Then::AllowIf(&[Condition::NoneOf(0, NEW_NAMESPACES)]),
    },
    // Its flags are behind a pointer, which a filter can't read; C libraries fall back to `clone`.
    Rule {
        calls: "clone3",
        when: When::Without(Capability::SysAdmin),
        then: Then::Fail(ENOSYS),
    },
    allow(When::With(Capability::DacReadSearch), "open_by_handle_at"),
    allow(
        When::With(Capability::SysAdmin),
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie \
         lsm_get_self_attr lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount \
         open_tree perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog \
         umount umount2 unshare",
    ),
    allow(When::With(Capability::SysBoot), "reboot"),
    allow(When::With(Capability::SysChroot), "chroot"),
    allow(
        When::With(Capability::SysModule),
        "delete_module finit_module init_module",
    ),
    allow(When::With(Capability::SysPacct), "acct"),
    allow(
        When::With(Capability::SysPtrace),
        "kcmp pidfd_getfd process_madvise",
    ),
    allow(When::With(Capability::SysRawio), "ioperm iopl"),
    allow(
        When::With(Capability::SysTime),
        "clock_settime clock_settime64 settimeofday stime",
    ),
    allow(When::With(Capability::SysTtyConfig), "vhangup"),
    allow(
        When::With(Capability::SysNice),
        "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
    ),
    allow(When::With(Capability::Syslog), "syslog"),
    allow(When::With(Capability::Bpf), "bpf"),
    allow(When::With(Capability::Perfmon), "perf_event_open"),
];

/// Calls that every program may make.
const ALWAYS: &str = "
    _llseek _newselect accept accept4 access adjtimex alarm bind brk cachestat capget capset
    chdir chmod chown chown32 clock_adjtime clock_adjtime64 clock_getres clock_getres_time64
    clock_gettime clock_gettime64 clock_nanosleep clock_nanosleep_time64 close close_range
    connect copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 epoll_ctl
    epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 execve
    execveat exit exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate
    fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64
    fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat fstat64 fstatat64
    fstatfs fstatfs64 fsync ftruncate ftruncate64 futex futex_requeue futex_time64
    futex_wait futex_waitv futex_wake futimesat get_robust_list get_thread_area getcpu
    getcwd getdents getdents64 getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups
    getgroups32 getitimer getpeername getpgid getpgrp getpid getppid getpriority getrandom
    getresgid getresgid32 getresuid getresuid32 getrlimit getrusage getsid getsockname
    getsockopt gettid gettimeofday getuid getuid32 getxattr getxattrat inotify_add_watch
    inotify_init inotify_init1 inotify_rm_watch io_cancel io_destroy io_getevents
    io_pgetevents io_pgetevents_time64 io_setup io_submit ioctl ioprio_get ioprio_set ipc
    kill landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown lchown32
    lgetxattr link linkat listen listmount listxattr listxattrat llistxattr lremovexattr
    lseek lsetxattr lstat lstat64 madvise map_shadow_stack membarrier memfd_create
    memfd_secret mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap mmap2
    mprotect mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64
    mq_timedsend mq_timedsend_time64 mq_unlink mremap mseal msgctl msgget msgrcv msgsnd
    msync munlock munlockall munmap name_to_handle_at nanosleep newfstatat open openat
    openat2 pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect
    poll ppoll ppoll_time64 prctl pread64 preadv preadv2 prlimit64 process_mrelease
    process_vm_readv process_vm_writev pselect6 pselect6_time64 ptrace pwrite64 pwritev
    pwritev2 read readahead readlink readlinkat readv recv recvfrom recvmmsg recvmmsg_time64
    recvmsg remap_file_pages removexattr removexattrat rename renameat renameat2
    restart_syscall rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo
    rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo
    sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr
    sched_getparam sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64
    sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield seccomp
    select semctl semget semop semtimedop semtimedop_time64 send sendfile sendfile64
    sendmmsg sendmsg sendto set_robust_list set_thread_area set_tid_address setfsgid
    setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setitimer setpgid
    setpriority setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid
    setreuid32 setrlimit setsid setsockopt setuid setuid32 setxattr setxattrat shmat shmctl
    shmdt shmget shutdown sigaltstack signalfd signalfd4 sigprocmask sigreturn socketcall
    socketpair splice stat stat64 statfs statfs64 statmount statx symlink symlinkat sync
    sync_file_range syncfs sysinfo tee tgkill time timer_create timer_delete
    timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64
    timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 times
    tkill truncate truncate64 ugetrlimit umask uname unlink unlinkat uretprobe utime
    utimensat utimensat_time64 utimes vfork vmsplice wait4 waitid waitpid write writev
";
