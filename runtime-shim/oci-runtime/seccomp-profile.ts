// The default seccomp profile: system calls a container may use, as data. Anything newer or unknown answers ENOSYS, so
// that C libraries fall back to an older call; what is known and dangerous answers EPERM.

import { inFilterOrder } from './syscall-order.ts';

const EPERM = 1;
const ENOSYS = 38;

/** Always allowed, by topic. */
const ALLOWED = `
accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg recvmmsg_time64 recvmsg send
sendmmsg sendmsg sendto setsockopt shutdown socketcall socketpair

access chdir chmod chown chown32 close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2 fadvise64
fadvise64_64 fallocate fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr
flistxattr flock fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futimesat
getcwd getdents getdents64 getxattr getxattrat ioctl lchown lchown32 lgetxattr link linkat listxattr listxattrat
llistxattr _llseek lremovexattr lseek lsetxattr lstat lstat64 memfd_create memfd_secret mkdir mkdirat mknod mknodat
name_to_handle_at newfstatat open openat openat2 pipe pipe2 pread64 preadv preadv2 pwrite64 pwritev pwritev2 read
readahead readlink readlinkat readv removexattr removexattrat rename renameat renameat2 rmdir sendfile sendfile64
setxattr setxattrat splice stat stat64 statfs statfs64 statx symlink symlinkat sync sync_file_range sync_file_range2
syncfs tee truncate truncate64 umask unlink unlinkat utime utimensat utimensat_time64 utimes vmsplice write writev

alarm clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep
clock_nanosleep_time64 getitimer gettimeofday nanosleep setitimer time timer_create timer_delete timer_getoverrun
timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64
timerfd_settime timerfd_settime64 times adjtimex

brk madvise map_shadow_stack membarrier mincore mlock mlock2 mlockall mmap mmap2 mprotect mremap mseal msync munlock
munlockall munmap pkey_alloc pkey_free pkey_mprotect process_mrelease remap_file_pages cachestat

epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2
fanotify_mark inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel io_destroy io_getevents
io_pgetevents io_pgetevents_time64 io_setup io_submit ioprio_get ioprio_set poll ppoll ppoll_time64 pselect6
pselect6_time64 select _newselect signalfd signalfd4

capget capset execve execveat exit exit_group fork futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake
get_robust_list get_thread_area getcpu getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getpgid
getpgrp getpid getppid getpriority getrandom getresgid getresgid32 getresuid getresuid32 getrlimit getrusage getsid
gettid getuid getuid32 kill landlock_add_rule landlock_create_ruleset landlock_restrict_self pause pidfd_open
pidfd_send_signal prctl prlimit64 restart_syscall rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo
rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_get_priority_max
sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval
sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield seccomp
set_robust_list set_thread_area set_tid_address setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups
setgroups32 setpgid setpriority setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32
setrlimit setsid setuid setuid32 sigaltstack sigpending sigprocmask sigreturn sigsuspend tgkill tkill ugetrlimit vfork
wait4 waitid waitpid arch_prctl modify_ldt sysinfo uname

ipc mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink
msgctl msgget msgrcv msgsnd semctl semget semop semtimedop semtimedop_time64 shmat shmctl shmdt shmget
`;

/** Allowed to a container that holds the capability. */
const WITH_CAPABILITY: Readonly<Record<string, string>> = {
  CAP_DAC_READ_SEARCH: 'open_by_handle_at',
  CAP_SYS_ADMIN: `bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr
    move_mount open_tree perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog umount umount2
    unshare`,
  CAP_SYS_BOOT: 'reboot',
  CAP_SYS_CHROOT: 'chroot',
  CAP_SYS_MODULE: 'delete_module finit_module init_module',
  CAP_SYS_PACCT: 'acct',
  CAP_SYS_PTRACE: 'kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace',
  CAP_SYS_RAWIO: 'ioperm iopl',
  CAP_SYS_TIME: 'clock_settime clock_settime64 settimeofday stime',
  CAP_SYS_TTY_CONFIG: 'vhangup',
  CAP_SYS_NICE: 'get_mempolicy mbind set_mempolicy set_mempolicy_home_node',
  CAP_SYSLOG: 'syslog',
  CAP_BPF: 'bpf',
  CAP_PERFMON: 'perf_event_open',
};

/** Known and refused: EPERM says "not for you" where ENOSYS would say "old kernel". */
const REFUSED = `
add_key keyctl request_key nfsservctl pivot_root swapoff swapon sysfs _sysctl uselib userfaultfd ustat vm86 vm86old
kexec_file_load kexec_load create_module get_kernel_syms query_module migrate_pages move_pages io_uring_enter
io_uring_register io_uring_setup
`;

/** Namespace flags of clone(2), one by one and together: none of them without CAP_SYS_ADMIN. */
const CLONE_NAMESPACE_FLAGS = 0x7e02_0000;
/** Personalities that change nothing about security. */
const PERSONALITIES = [0x0, 0x0008, 0x2_0000, 0x2_0008, 0xffff_ffff];
const AF_VSOCK = 40;

interface SeccompArg {
  readonly index: number;
  readonly value: number;
  readonly valueTwo?: number;
  readonly op: string;
}
export interface SeccompRule {
  readonly names: readonly string[];
  readonly action: string;
  readonly errnoRet?: number;
  readonly args?: readonly SeccompArg[];
}
export interface SeccompProfile {
  readonly defaultAction: string;
  readonly defaultErrnoRet?: number;
  readonly architectures?: readonly string[];
  readonly syscalls: readonly SeccompRule[];
}

const ARCHITECTURES: Readonly<Record<string, readonly string[]>> = {
  x64: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86', 'SCMP_ARCH_X32'],
  arm64: ['SCMP_ARCH_AARCH64', 'SCMP_ARCH_ARM'],
};

const words = (text: string): string[] => text.split(/\s+/).filter((word) => word !== '');

/** The profile for a container with these capabilities, in the OCI runtime specification's form. */
export function defaultSeccompProfile(
  capabilities: readonly string[],
  architecture: string = process.arch,
): SeccompProfile {
  const allow = 'SCMP_ACT_ALLOW';
  const byCapability = Object.entries(WITH_CAPABILITY);
  const granted = new Set(byCapability.flatMap(([name, calls]) => (capabilities.includes(name) ? words(calls) : [])));
  const withheld = byCapability.flatMap(([, calls]) => words(calls)).filter((call) => !granted.has(call));
  const rules: SeccompRule[] = [
    // vsock reaches the hypervisor past every network namespace.
    { names: ['socket'], action: allow, args: [{ index: 0, value: AF_VSOCK, op: 'SCMP_CMP_NE' }] },
    ...PERSONALITIES.map((value) => ({
      names: ['personality'],
      action: allow,
      args: [{ index: 0, value, op: 'SCMP_CMP_EQ' }],
    })),
  ];
  if (!granted.has('clone')) {
    rules.push({
      names: ['clone'],
      action: allow,
      args: [{ index: 0, value: CLONE_NAMESPACE_FLAGS, valueTwo: 0, op: 'SCMP_CMP_MASKED_EQ' }],
    });
    // The flags of clone3 lie in memory a filter cannot read: ENOSYS sends callers to clone.
    rules.push({ names: ['clone3'], action: 'SCMP_ACT_ERRNO', errnoRet: ENOSYS });
  }
  const refused = new Set([...words(REFUSED), ...withheld]);
  for (const name of ['clone', 'clone3']) refused.delete(name);
  return {
    defaultAction: 'SCMP_ACT_ERRNO',
    defaultErrnoRet: ENOSYS,
    ...(ARCHITECTURES[architecture] ? { architectures: ARCHITECTURES[architecture] } : {}),
    // The short list first: it is what the calls of the long one are compared with.
    syscalls: [
      { names: inFilterOrder([...refused]), action: 'SCMP_ACT_ERRNO', errnoRet: EPERM },
      ...rules,
      { names: inFilterOrder([...new Set([...words(ALLOWED), ...granted])]), action: allow },
    ],
  };
}
