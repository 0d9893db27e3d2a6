/* librocketnpu_provider.so: the two symbols by which ONNX Runtime loads an execution provider, in front of Python.
 *
 * Of ONNX Runtime's interface it knows two things by their place, which never changes: the first function of the base
 * gives the table of functions for a version, and the first function of that table makes a status.
 */
#include "python_host.h"
#include <stdint.h>

#define API_VERSION 23
#define FAIL 1

typedef void *(*CreateStatus)(int code, const char *message);
typedef struct {
    const CreateStatus *(*get_api)(uint32_t version);
    const char *(*get_version)(void);
} Base;

static char said[2048]; /* what went wrong first; guarded by ONNX Runtime, which loads one library at a time */

static void keep(const char *text)
{
    snprintf(said, sizeof said, "%s", text);
}

EXPORT void *CreateEpFactories(const char *registered, const Base *base, const void *logger, void **factories,
                               size_t most, size_t *count)
{
    void *status = NULL;
    const CreateStatus *api = base->get_api(API_VERSION);
    (void)logger;
    *count = 0;
    if (!api) {
        fprintf(stderr, "rocketnpu: ONNX Runtime %s is too old: 1.23 is the first that this provider knows\n",
                base->get_version());
        return NULL; /* without an interface there is no status: no factory says as much */
    }
    if (!ensure_started(keep))
        return api[0](FAIL, said);
    int state = py.acquire();
    if (import_library(keep)) {
        Object *made = py.call(library, "create", "snnnn", registered, (ptrdiff_t)base, (ptrdiff_t)factories,
                               (ptrdiff_t)most, (ptrdiff_t)count);
        if (made) {
            status = (void *)py.as_size(made);
            py.drop(made);
        } else {
            fail(keep, "cannot create the execution provider", 0);
            status = api[0](FAIL, said);
        }
    } else {
        status = api[0](FAIL, said);
    }
    py.release(state);
    return status;
}

EXPORT void *ReleaseEpFactory(void *factory)
{
    if (!factory || !library || !py.is_initialized())
        return NULL;
    int state = py.acquire();
    Object *done = py.call(library, "destroy", "n", (ptrdiff_t)factory);
    if (done)
        py.drop(done);
    else
        fail(NULL, "", 1); /* Python is on its way out, and frees everything by itself */
    py.release(state);
    return NULL;
}
