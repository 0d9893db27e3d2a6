/* librocketnpu_delegate.so: the two symbols by which TensorFlow Lite hosts load a delegate, in front of Python. */
#include "python_host.h"

EXPORT void *tflite_plugin_create_delegate(char **keys, char **values, size_t count, Report report)
{
    size_t address = 0;
    if (!ensure_started(report))
        return NULL;
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
    return (void *)address;
}

EXPORT void tflite_plugin_destroy_delegate(void *delegate)
{
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
