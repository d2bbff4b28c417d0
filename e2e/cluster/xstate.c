/* Preloaded into User-Mode Linux. That keeps 2,696 bytes of a process's registers (x87 to PKRU), and the machine's kernel takes back all that the processor has or nothing
   (EFAULT), which is more where there is AMX. Such a machine is given the rest as it is in a process that never used it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/uio.h>

/* Where the header of an XSAVE area says which of its components are in use, and those that User-Mode Linux knows. */
enum { IN_USE = 512, KNOWN = 0x3ff };

typedef long call(int, pid_t, void *, void *);

long ptrace(enum __ptrace_request request, ...) {
    static call *next;
    static _Alignas(64) char all[65536];
    static size_t whole;
    va_list rest;
    va_start(rest, request);
    pid_t pid = va_arg(rest, pid_t);
    void *address = va_arg(rest, void *), *data = va_arg(rest, void *);
    va_end(rest);
    if (!next) next = (call *)dlsym(RTLD_NEXT, "ptrace");
    if (request != PTRACE_SETREGSET || (uintptr_t)address != NT_X86_XSTATE) return next(request, pid, address, data);
    struct iovec *kept = data, given = {all, sizeof all};
    if (!whole) {
        if (next(PTRACE_GETREGSET, pid, address, &given)) return -1;
        whole = given.iov_len;
        memset(all, 0, sizeof all);
    }
    if (kept->iov_len >= whole) return next(request, pid, address, data);
    memcpy(all, kept->iov_base, kept->iov_len);
    uint64_t used;
    memcpy(&used, all + IN_USE, sizeof used);
    used &= KNOWN;
    memcpy(all + IN_USE, &used, sizeof used);
    given.iov_len = whole;
    return next(request, pid, address, &given);
}
