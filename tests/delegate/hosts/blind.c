/* A host that passes no function to report errors and does not look at what it gets.
 *
 *     blind LIBRARY [KEY VALUE]...
 *
 * Makes a delegate, applies it to a network that only takes reports, prints the status and what was reported, and
 * destroys the delegate.
 */
#include <dlfcn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

typedef struct Context {
    size_t tensor_count;
    void *others[4];
    void (*report)(struct Context *, const char *format, ...);
    void *more[32];
} Context;
typedef struct Delegate {
    void *data;
    int (*prepare)(Context *, struct Delegate *);
} Delegate;

static void report(Context *context, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    printf("reported: ");
    vprintf(format, values);
    va_end(values);
}

int main(int argc, char **argv)
{
    void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    Delegate *(*create)(char **, char **, size_t, void *) = dlsym(library, "tflite_plugin_create_delegate");
    void (*destroy)(void *) = dlsym(library, "tflite_plugin_destroy_delegate");
    char *keys[8], *values[8];
    size_t count = 0;
    for (int i = 2; i + 1 < argc; i += 2, count++)
        keys[count] = argv[i], values[count] = argv[i + 1];
    Context context = {.report = report};
    Delegate *delegate = create(keys, values, count, NULL);
    int status = delegate->prepare(&context, delegate);
    printf("status %d\n", status);
    destroy(delegate);
    return 0;
}
