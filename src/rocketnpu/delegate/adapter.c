/* librocketnpu_delegate.so: the two symbols by which TensorFlow Lite hosts load a delegate, in front of Python. */
#include "python_host.h"

#include <stdint.h>
#include <stdlib.h>

typedef struct Context {
    size_t tensor_count;
    void *others[4];
    void (*report)(struct Context *, const char *format, ...);
} Context;
typedef struct Delegate {
    char *text; /* the host's structure begins with a pointer that is ours */
    int (*prepare)(Context *, struct Delegate *);
    void *copy_from, *copy_to, *free_handle;
    int64_t flags;
    void *opaque_builder;
} Delegate;

static int tell_reason(Context *context, Delegate *delegate)
{
    context->report(context, "rocketnpu: %s\n", delegate->text);
    return 1; /* kTfLiteError */
}

/* Of hosts that pass no function to report errors, some do not look at the result of creating a delegate: they get one
 * whose application fails. */
static void *without_delegate(Report report, const char *text)
{
    Delegate *made = report ? NULL : calloc(1, sizeof *made);
    if (!made)
        return NULL;
    made->text = strdup(text);
    made->prepare = tell_reason;
    return made;
}

EXPORT void *tflite_plugin_create_delegate(char **keys, char **values, size_t count, Report report)
{
    size_t address = 0;
    if (!ensure_started(report))
        return without_delegate(report, reason);
    int state = py.acquire();
    if (import_library(report)) {
        Object *made = py.call(library, "create", "nnnn", (ptrdiff_t)keys, (ptrdiff_t)values, (ptrdiff_t)count,
                               (ptrdiff_t)report);
        if (made) {
            address = py.as_size(made);
            py.drop(made);
        } else {
            fail(report, "cannot create the delegate", 0);
        }
    }
    py.release(state);
    return address || report ? (void *)address : without_delegate(report, reason);
}

EXPORT void tflite_plugin_destroy_delegate(void *delegate)
{
    if (delegate && ((Delegate *)delegate)->prepare == tell_reason) {
        free(((Delegate *)delegate)->text);
        free(delegate);
        return;
    }
    if (!delegate || !library || !py.is_initialized())
        return;
    int state = py.acquire();
    Object *done = py.call(library, "destroy", "n", (ptrdiff_t)delegate);
    if (done)
        py.drop(done);
    else
        fail(NULL, "", 1); /* Python is on its way out, and frees everything by itself */
    py.release(state);
}
