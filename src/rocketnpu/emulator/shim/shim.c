/*
 * shim.c - the emulated node's side inside the program under test (LD_PRELOAD).
 *
 * It answers open, ioctl, mmap and stat for one device node and hands each call to the emulator, which is the kernel
 * driver here. Design, in three sentences:
 *
 *   - An open file of the node IS a connected SOCK_SEQPACKET socket, so dup, fork, exec, close and passing descriptors
 *     work without help, and the emulator sees the last close as the end of the connection. Whether a descriptor is
 *     ours is asked of the kernel (getpeername), never remembered.
 *   - A call is one message with two descriptors: a socket for the one reply, and a memfd that carries the argument in
 *     both directions. Threads and forked children therefore never mix their answers up.
 *   - User memory is only touched by system calls (pwrite to and pread from that memfd), so a bad pointer is EFAULT as
 *     it is in the kernel, and never a crash.
 *
 * Environment: ROCKETNPU_NODE_SOCKET (the emulator's socket), ROCKETNPU_NODE_DRIVER (rocket, where not given, or
 * etnaviv), ROCKETNPU_NODE_PATH (by default /dev/accel/accel0 or /dev/dri/renderD128).
 * The layouts restate the public uAPI of drm.h, rocket_accel.h (Linux 6.18 and newer) and etnaviv_drm.h; how the argument
 * is copied restates drm_ioctl.c: the number chooses the call, the encoded size says how much is copied, the rest reads
 * as zero.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#define ACCEL_MAJOR 261
#define RENDER_MAJOR 226
#define RENDER_MINOR 128
#define PAYLOAD_LIMIT (64ull << 20) /* a SUBMIT that copies more than this is ENOMEM */

enum { OP_IOCTL = 1, OP_MMAP = 2 };
struct request { uint32_t op, command; uint64_t offset, length; };
struct reply { int32_t error; uint32_t unused; };

struct drm_job {
   uint64_t tasks, in_handles, out_handles;
   uint32_t task_count, task_struct_size, in_count, out_count;
};
struct drm_submit { uint64_t jobs; uint32_t job_count, job_struct_size; uint64_t reserved; };
struct drm_version {
   int32_t major, minor, patch;
   uint64_t name_len, name, date_len, date, desc_len, desc;
};
struct wire_job { int32_t error; uint32_t task_count, in_count, out_count; }; /* then tasks, in, out */

struct etnaviv_submit {
   uint32_t fence, pipe, exec_state, bo_count, reloc_count, stream_size;
   uint64_t bos, relocs, stream;
   uint32_t flags;
   int32_t fence_fd;
   uint64_t pmrs;
   uint32_t pmr_count, unused;
};

#define TASK_SIZE 8u
#define BO_SIZE 16u
#define RELOC_SIZE 24u
#define PMR_SIZE 24u
enum { NR_VERSION = 0x00, NR_PRIME_TO_FD = 0x2d };
/* Calls that take an argument, as the kernel declares them: number, direction, size, and whether they may sleep. */
struct known { uint8_t nr, direction; uint16_t size; bool sleeps; };
static const struct known core_calls[] = {
   {NR_VERSION, _IOC_READ | _IOC_WRITE, 64, false}, {0x09, _IOC_WRITE, 8, false},
   {0x0c, _IOC_READ | _IOC_WRITE, 16, false},       {0x0d, _IOC_WRITE, 16, false},
   {NR_PRIME_TO_FD, _IOC_READ | _IOC_WRITE, 12, false}, {0, 0, 0, false},
};
static const struct known rocket_calls[] = {
   {0x40, _IOC_READ | _IOC_WRITE, 24, false}, {0x41, _IOC_WRITE, 24, false}, {0x42, _IOC_WRITE, 16, true},
   {0x43, _IOC_WRITE, 8, false},              {0, 0, 0, false},
};
static const struct known etnaviv_calls[] = {
   {0x40, _IOC_READ | _IOC_WRITE, 16, false}, {0x42, _IOC_READ | _IOC_WRITE, 16, false},
   {0x43, _IOC_READ | _IOC_WRITE, 16, false}, {0x44, _IOC_WRITE, 24, true}, {0x45, _IOC_WRITE, 8, false},
   {0x46, _IOC_READ | _IOC_WRITE, sizeof(struct etnaviv_submit), false}, {0x47, _IOC_WRITE, 32, true},
   {0x48, _IOC_READ | _IOC_WRITE, 24, false}, {0x49, _IOC_WRITE, 32, true},
   {0x4a, _IOC_READ | _IOC_WRITE, 72, false}, {0x4b, _IOC_READ | _IOC_WRITE, 76, false}, {0, 0, 0, false},
};

static int copy_jobs(int store, uint64_t at);
static int copy_stream(int store, uint64_t at);
struct driver {
   const char *name, *description, *date, *path;
   int32_t version[3];
   unsigned int major, minor;
   uint8_t submit;
   const struct known *calls;
   int (*copy)(int store, uint64_t at); /* what the argument of a submission points to */
};
static const struct driver drivers[] = {
   /* Upstream leaves rocket's version and date unset. */
   {"rocket", "rocket DRM", "0", "/dev/accel/accel0", {0, 0, 0}, ACCEL_MAJOR, 0, 0x41, rocket_calls, copy_jobs},
   {"etnaviv", "etnaviv DRM", "0", "/dev/dri/renderD128", {1, 4, 0}, RENDER_MAJOR, RENDER_MINOR, 0x46, etnaviv_calls,
    copy_stream},
};

static const struct driver *
driver(void)
{
   const char *name = getenv("ROCKETNPU_NODE_DRIVER");
   for (size_t i = 0; name && i < sizeof drivers / sizeof *drivers; i++)
      if (strcmp(name, drivers[i].name) == 0) return &drivers[i];
   return &drivers[0];
}

static const struct known *
find_call(uint32_t nr)
{
   const struct known *tables[] = {core_calls, driver()->calls};
   for (int i = 0; i < 2; i++)
      for (const struct known *call = tables[i]; call->size; call++)
         if (call->nr == nr) return call;
   return NULL;
}

#define REAL(name) ((__typeof__(&name))real(#name))
static void *
real(const char *name)
{
   void *found = dlsym(RTLD_NEXT, name);
   if (!found) abort();
   return found;
}

static const char *
socket_path(void)
{
   const char *path = getenv("ROCKETNPU_NODE_SOCKET");
   return path && strlen(path) < sizeof(((struct sockaddr_un *)0)->sun_path) ? path : NULL;
}

static bool
is_path(const char *path)
{
   const char *node = getenv("ROCKETNPU_NODE_PATH");
   return path && socket_path() && strcmp(path, node ? node : driver()->path) == 0;
}

static bool
is_node(int fd)
{
   struct sockaddr_un peer = {0};
   socklen_t length = sizeof peer;
   const char *path = socket_path();
   int saved = errno;
   bool found = path && fd >= 0 && getpeername(fd, (struct sockaddr *)&peer, &length) == 0 &&
                peer.sun_family == AF_UNIX && strncmp(peer.sun_path, path, sizeof peer.sun_path) == 0;
   errno = saved;
   return found;
}

/* ---- copying from and to user memory, through a memfd ---- */
static int memfd(void) { return (int)syscall(SYS_memfd_create, "rocketnpu-call", 1u /* MFD_CLOEXEC */); }

static int
copy_in(int store, uint64_t at, uint64_t user, uint64_t size)
{
   while (size) {
      ssize_t done = pwrite(store, (const void *)(uintptr_t)user, size, (off_t)at);
      if (done <= 0) return errno == ENOSPC || errno == ENOMEM || errno == EFBIG ? ENOMEM : EFAULT;
      at += (uint64_t)done, user += (uint64_t)done, size -= (uint64_t)done;
   }
   return 0;
}

static int
copy_out(int store, uint64_t at, uint64_t user, uint64_t size)
{
   while (size) {
      ssize_t done = pread(store, (void *)(uintptr_t)user, size, (off_t)at);
      if (done <= 0) return EFAULT;
      at += (uint64_t)done, user += (uint64_t)done, size -= (uint64_t)done;
   }
   return 0;
}

/* ---- one call to the emulator ---- */
static int
send_request(int fd, const struct request *request, int answer, int store)
{
   union { char bytes[CMSG_SPACE(2 * sizeof(int))]; struct cmsghdr align; } control = {0};
   struct iovec part = {(void *)(uintptr_t)request, sizeof *request};
   int count = store >= 0 ? 2 : 1, fds[2] = {answer, store};
   struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes};
   message.msg_controllen = CMSG_SPACE((size_t)count * sizeof(int));
   struct cmsghdr *head = CMSG_FIRSTHDR(&message);
   head->cmsg_level = SOL_SOCKET;
   head->cmsg_type = SCM_RIGHTS;
   head->cmsg_len = CMSG_LEN((size_t)count * sizeof(int));
   memcpy(CMSG_DATA(head), fds, (size_t)count * sizeof(int));
   for (;;) {
      ssize_t done = sendmsg(fd, &message, MSG_NOSIGNAL);
      if (done == (ssize_t)sizeof *request) return 0;
      if (done < 0 && errno == EINTR) continue;
      if (done < 0 && errno == EAGAIN) { /* the program made the file non-blocking, and the emulator is busy */
         struct pollfd wait = {fd, POLLOUT, 0};
         poll(&wait, 1, -1);
         continue;
      }
      bool short_of = errno == ENOMEM || errno == ENOBUFS || errno == EMFILE || errno == ETOOMANYREFS;
      return short_of ? ENOMEM : ENODEV; /* the emulator is gone: an unplugged device */
   }
}

/* Wait for the reply. An interrupted wait is EINTR for calls that sleep in the kernel, and for no other. */
static int
receive_reply(int answer, bool interruptible, int *passed)
{
   union { char bytes[CMSG_SPACE(sizeof(int))]; struct cmsghdr align; } control = {0};
   struct reply reply = {0};
   struct iovec part = {&reply, sizeof reply};
   struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
   ssize_t done;
   do {
      message.msg_control = control.bytes;
      message.msg_controllen = CMSG_LEN(sizeof(int)); /* the space has room for a second one, which would be lost */
      done = recvmsg(answer, &message, MSG_CMSG_CLOEXEC);
   } while (done < 0 && errno == EINTR && !interruptible);
   if (done < 0 && errno == EINTR) return EINTR;
   if (done != (ssize_t)sizeof reply) return ENODEV; /* the emulator is gone: an unplugged device */
   struct cmsghdr *head = CMSG_FIRSTHDR(&message);
   if (head && head->cmsg_type == SCM_RIGHTS && head->cmsg_len >= CMSG_LEN(sizeof *passed)) {
      int given;
      memcpy(&given, CMSG_DATA(head), sizeof given);
      if (passed) *passed = given;
      else REAL(close)(given);
   } else if (passed && message.msg_flags & MSG_CTRUNC) {
      return EMFILE; /* the program has no descriptor left for what was passed */
   }
   return reply.error < 0 || reply.error > 4095 ? EIO : reply.error;
}

static int
call(int fd, const struct request *request, int store, bool interruptible, int *passed)
{
   int pair[2], error;
   if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair)) return ENOMEM;
   error = send_request(fd, request, pair[1], store);
   REAL(close)(pair[1]);
   if (!error) error = receive_reply(pair[0], interruptible, passed);
   REAL(close)(pair[0]);
   return error;
}

/* ---- SUBMIT: its argument points to jobs, which point to tasks and handles ---- */
static int
copy_job(int store, uint64_t at, const struct drm_job *job, uint64_t *end)
{
   uint64_t next = at + sizeof(struct wire_job);
   uint64_t total = ((uint64_t)job->task_count * TASK_SIZE) + (((uint64_t)job->in_count + job->out_count) * 4);
   if (!job->task_count || job->task_struct_size < TASK_SIZE) return EINVAL;
   if (next + total > PAYLOAD_LIMIT) return ENOMEM;
   int error = 0;
   for (uint32_t i = 0; i < job->task_count && !error; i++, next += TASK_SIZE)
      error = copy_in(store, next, job->tasks + (uint64_t)i * job->task_struct_size, TASK_SIZE);
   if (!error) error = copy_in(store, next, job->in_handles, (uint64_t)job->in_count * 4);
   next += (uint64_t)job->in_count * 4;
   if (!error) error = copy_in(store, next, job->out_handles, (uint64_t)job->out_count * 4);
   if (error) return error;
   *end = next + (uint64_t)job->out_count * 4;
   return 0;
}

static int
copy_jobs(int store, uint64_t at)
{
   struct drm_submit submit;
   if (pread(store, &submit, sizeof submit, 0) != (ssize_t)sizeof submit) return ENOMEM;
   if (!submit.job_count) return 0;
   if (submit.job_struct_size < sizeof(struct drm_job) || submit.reserved) return EINVAL;
   if (submit.job_count * (uint64_t)sizeof(struct drm_job) > PAYLOAD_LIMIT) return ENOMEM;
   for (int pass = 0; pass < 2; pass++) /* the kernel copies all jobs before it looks at one */
      for (uint32_t i = 0; i < submit.job_count; i++) {
         struct drm_job job = {0};
         uint64_t end = at + sizeof(struct wire_job);
         int error = copy_in(store, at, submit.jobs + (uint64_t)i * submit.job_struct_size, sizeof job);
         if (error) return error;
         if (!pass) continue;
         if (pread(store, &job, sizeof job, (off_t)at) != (ssize_t)sizeof job) return ENOMEM;
         error = copy_job(store, at, &job, &end);
         struct wire_job head = {error, error ? 0 : job.task_count, error ? 0 : job.in_count, error ? 0 : job.out_count};
         if (pwrite(store, &head, sizeof head, (off_t)at) != (ssize_t)sizeof head) return ENOMEM;
         at = end;
      }
   return ftruncate(store, (off_t)at) ? ENOMEM : 0;
}

/* ---- etnaviv's SUBMIT: its argument points to buffers, relocations, counters and the stream ---- */
static int
copy_stream(int store, uint64_t at)
{
   struct etnaviv_submit submit;
   if (pread(store, &submit, sizeof submit, 0) != (ssize_t)sizeof submit) return ENOMEM;
   const struct { uint64_t user, size; } parts[] = {
      {submit.bos, (uint64_t)submit.bo_count * BO_SIZE},
      {submit.relocs, (uint64_t)submit.reloc_count * RELOC_SIZE},
      {submit.pmrs, (uint64_t)submit.pmr_count * PMR_SIZE},
      {submit.stream, submit.stream_size},
   };
   /* The kernel looks at the argument before it copies what that points to: what is missing is for the node to judge. */
   uint64_t end = at;
   for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
      if (end - at + parts[i].size > PAYLOAD_LIMIT) break;
      int error = copy_in(store, end, parts[i].user, parts[i].size);
      if (error == EFAULT) break;
      if (error) return error;
      end += parts[i].size;
   }
   return ftruncate(store, (off_t)end) ? ENOMEM : 0;
}

/* ---- ioctl ---- */
static int
put_text(uint64_t user, uint64_t *length, const char *text)
{
   uint64_t whole = strlen(text), part = *length < whole ? *length : whole;
   int store = part && user ? memfd() : -1, error = 0;
   *length = whole;
   if (!part || !user) return 0;
   if (store < 0) return ENOMEM;
   error = pwrite(store, text, part, 0) == (ssize_t)part ? copy_out(store, 0, user, part) : ENOMEM;
   REAL(close)(store);
   return error;
}

static int
answer_version(int store)
{
   struct drm_version version;
   if (pread(store, &version, sizeof version, 0) != (ssize_t)sizeof version) return ENOMEM;
   const struct driver *known = driver();
   version.major = known->version[0], version.minor = known->version[1], version.patch = known->version[2];
   int error = put_text(version.name, &version.name_len, known->name);
   if (!error) error = put_text(version.date, &version.date_len, known->date);
   if (!error) error = put_text(version.desc, &version.desc_len, known->description);
   if (pwrite(store, &version, sizeof version, 0) != (ssize_t)sizeof version) return ENOMEM;
   return error;
}

static int
forward(int fd, uint32_t command, int store, bool sleeps)
{
   struct request request = {OP_IOCTL, command, 0, 0};
   int passed = -1, error = call(fd, &request, store, sleeps, &passed);
   if (!error && _IOC_NR(command) == NR_PRIME_TO_FD) {
      if (passed < 0) return EIO;
      if (pwrite(store, &passed, sizeof passed, 8) != (ssize_t)sizeof passed) return ENOMEM;
   } else if (passed >= 0) {
      REAL(close)(passed);
   }
   return error;
}

static int
node_ioctl(int fd, uint32_t command, void *argument)
{
   uint32_t size = _IOC_SIZE(command), nr = _IOC_NR(command);
   uint64_t user = (uint64_t)(uintptr_t)argument;
   if (_IOC_TYPE(command) != 'd') return ENOTTY;
   const struct known *known = find_call(nr);
   if (!known) return EINVAL;
   uint32_t in = _IOC_DIR(command) & known->direction & _IOC_WRITE ? size : 0;
   uint32_t out = _IOC_DIR(command) & known->direction & _IOC_READ ? size : 0;
   uint32_t kept = size > known->size ? size : known->size;
   int store = memfd(), error;
   if (store < 0) return ENOMEM;
   error = copy_in(store, 0, user, in);
   if (!error && ftruncate(store, kept)) error = ENOMEM;
   if (!error) {
      if (nr == driver()->submit) error = driver()->copy(store, kept);
      if (!error) error = nr == NR_VERSION ? answer_version(store) : forward(fd, command, store, known->sleeps);
      if (copy_out(store, 0, user, out)) error = EFAULT;
   }
   REAL(close)(store);
   return error;
}

int
ioctl(int fd, unsigned long request, ...)
{
   va_list list;
   va_start(list, request);
   void *argument = va_arg(list, void *);
   va_end(list);
   if (!is_node(fd)) return REAL(ioctl)(fd, request, argument);
   int saved = errno, error = node_ioctl(fd, (uint32_t)request, argument);
   errno = error ? error : saved;
   return error ? -1 : 0;
}

/* ---- open, mmap, stat ---- */
static int
node_open(int flags)
{
   struct sockaddr_un address = {.sun_family = AF_UNIX};
   int fd = socket(AF_UNIX, SOCK_SEQPACKET | (flags & O_CLOEXEC ? SOCK_CLOEXEC : 0), 0), result;
   if (fd < 0) return -1;
   strcpy(address.sun_path, socket_path());
   do result = connect(fd, (struct sockaddr *)&address, sizeof address); while (result && errno == EINTR);
   if (!result) return fd;
   REAL(close)(fd);
   errno = ENODEV;
   return -1;
}

#define MODE_OF(flags)                    \
   mode_t mode = 0;                       \
   if ((flags) & (O_CREAT | O_TMPFILE)) { \
      va_list list;                       \
      va_start(list, flags);              \
      mode = va_arg(list, mode_t);        \
      va_end(list);                       \
   }

int open(const char *path, int flags, ...) { MODE_OF(flags) return is_path(path) ? node_open(flags) : REAL(open)(path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE_OF(flags) return is_path(path) ? node_open(flags) : REAL(open64)(path, flags, mode); }
int openat(int at, const char *path, int flags, ...) { MODE_OF(flags) return is_path(path) ? node_open(flags) : REAL(openat)(at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { MODE_OF(flags) return is_path(path) ? node_open(flags) : REAL(openat64)(at, path, flags, mode); }
/* What a fortified program calls where the compiler cannot see the flags; it never creates a file. */
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __open_2(const char *path, int flags) { return open(path, flags); }
int __open64_2(const char *path, int flags) { return open64(path, flags); }

static void *
node_mmap(void *address, size_t length, int protection, int flags, int fd, uint64_t offset)
{
   struct request request = {OP_MMAP, 0, offset, length};
   int passed = -1, error = EINVAL;
   /* A private writable mapping of a shmem object is refused (drm_gem_shmem_mmap). */
   if ((flags & MAP_SHARED) || !(protection & PROT_WRITE)) error = call(fd, &request, -1, false, &passed);
   if (error || passed < 0) {
      errno = error == EMFILE ? ENOMEM : error ? error : ENODEV; /* the kernel needs no descriptor to map */
      return MAP_FAILED;
   }
   void *mapped = REAL(mmap64)(address, length, protection, flags, passed, 0);
   error = errno;
   REAL(close)(passed);
   errno = error;
   return mapped;
}

static bool ours(int flags, int fd) { return !(flags & MAP_ANONYMOUS) && is_node(fd); }

void *
mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset)
{
   return ours(flags, fd) ? node_mmap(address, length, protection, flags, fd, (uint64_t)offset)
                          : REAL(mmap)(address, length, protection, flags, fd, offset);
}

void *
mmap64(void *address, size_t length, int protection, int flags, int fd, off64_t offset)
{
   return ours(flags, fd) ? node_mmap(address, length, protection, flags, fd, (uint64_t)offset)
                          : REAL(mmap64)(address, length, protection, flags, fd, offset);
}

#define FAKE_STAT(status)                              \
   (memset(status, 0, sizeof *(status)),               \
    (status)->st_mode = S_IFCHR | 0666,                \
    (status)->st_rdev = makedev(driver()->major, driver()->minor), \
    (status)->st_nlink = 1, (status)->st_blksize = 4096, 0)

int fstat(int fd, struct stat *status) { return is_node(fd) ? FAKE_STAT(status) : REAL(fstat)(fd, status); }
int fstat64(int fd, struct stat64 *status) { return is_node(fd) ? FAKE_STAT(status) : REAL(fstat64)(fd, status); }
int stat(const char *path, struct stat *status) { return is_path(path) ? FAKE_STAT(status) : REAL(stat)(path, status); }
int stat64(const char *path, struct stat64 *status) { return is_path(path) ? FAKE_STAT(status) : REAL(stat64)(path, status); }
int lstat(const char *path, struct stat *status) { return is_path(path) ? FAKE_STAT(status) : REAL(lstat)(path, status); }
int lstat64(const char *path, struct stat64 *status) { return is_path(path) ? FAKE_STAT(status) : REAL(lstat64)(path, status); }

/* Whether a call that takes a folder, a path and flags is about the node; an empty path names the descriptor itself. */
static bool
is_node_at(int at, const char *path, int flags)
{
   return is_path(path) || (path && !*path && flags & AT_EMPTY_PATH && is_node(at));
}

int fstatat(int at, const char *path, struct stat *status, int flags) { return is_node_at(at, path, flags) ? FAKE_STAT(status) : REAL(fstatat)(at, path, status, flags); }
int fstatat64(int at, const char *path, struct stat64 *status, int flags) { return is_node_at(at, path, flags) ? FAKE_STAT(status) : REAL(fstatat64)(at, path, status, flags); }

int
statx(int at, const char *path, int flags, unsigned int mask, struct statx *status)
{
   if (!is_node_at(at, path, flags)) return REAL(statx)(at, path, flags, mask, status);
   memset(status, 0, sizeof *status);
   status->stx_mask = STATX_TYPE | STATX_MODE | STATX_NLINK;
   status->stx_mode = S_IFCHR | 0666;
   status->stx_nlink = 1;
   status->stx_blksize = 4096;
   status->stx_rdev_major = driver()->major;
   status->stx_rdev_minor = driver()->minor;
   return 0;
}

int faccessat(int at, const char *path, int mode, int flags) { return is_path(path) ? 0 : REAL(faccessat)(at, path, mode, flags); }
int access(const char *path, int mode) { return is_path(path) ? 0 : REAL(access)(path, mode); }
