/* Python behind a shared library that a program loads: found in the process, or started there.
 *
 * Knows Python's C interface by name only (dlsym), so that it needs no headers, is bound to no libpython, and can refuse
 * a wrong Python with a sentence. In a host that is Python, that Python is used. In any other, libpython is loaded with
 * global symbols (extension modules expect to find them there) and started in the environment that built this file.
 *
 * build.py defines ROCKETNPU_PYTHON (its executable), ROCKETNPU_LIBPYTHON (path of its shared library, a mere name for the
 * system's loader, empty if there is none), ROCKETNPU_LIBPYTHON_ADVICE (how to get it), ROCKETNPU_STDLIB,
 * ROCKETNPU_PACKAGE (folder of the package), ROCKETNPU_FIND (a Python statement that makes the package importable),
 * ROCKETNPU_MAJOR and ROCKETNPU_MINOR (Python's version), ROCKETNPU_VERB (the command that builds this file),
 * ROCKETNPU_MODULE (the Python module behind it) and ROCKETNPU_TITLE (what it is, for messages).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

#define EXPORT __attribute__((visibility("default")))

typedef void Object;
typedef void (*Report)(const char *);

static struct {
    int (*is_initialized)(void);
    const char *(*version)(void);
    void (*initialize)(int signals);
    void *(*save_thread)(void);
    int (*acquire)(void);
    void (*release)(int);
    int (*run)(const char *);
    Object *(*import)(const char *);
    Object *(*call)(Object *, const char *method, const char *format, ...);
    size_t (*as_size)(Object *);
    void (*drop)(Object *);
    void (*fetch_error)(Object **, Object **, Object **);
    Object *(*text)(Object *);
    const char *(*utf8)(Object *);
    wchar_t *(*decode)(const char *, size_t *);
    void (*set_program)(const wchar_t *); /* these two are gone in later Pythons */
    int *ignore_environment;
} py;

static pthread_mutex_t starting = PTHREAD_MUTEX_INITIALIZER;
static int ready;
static __thread char reason[2048]; /* of the last refusal */
static Object *library; /* the Python module behind this file; guarded by Python's own lock */

/* Tell the user first, since hosts swallow what they are told; then the host. Returns 0. */
static int refuse(Report report, const char *format, ...)
{
    char text[2048];
    va_list values;
    va_start(values, format);
    vsnprintf(text, sizeof text, format, values);
    va_end(values);
    fprintf(stderr, "rocketnpu: %s\n", text);
    fflush(stderr);
    strcpy(reason, text);
    if (report)
        report(text);
    return 0;
}

static int check_file(Report report, const char *what, const char *path)
{
    if (!access(path, R_OK))
        return 1;
    return refuse(report,
                  "%s is missing (%s): the environment that built this library was moved or removed; run "
                  "`rocketnpu " ROCKETNPU_VERB "` in the present one",
                  what, path);
}

static int find_symbols(Report report)
{
    const struct {
        const char *name;
        void *place;
        int optional;
    } wanted[] = {
        {"Py_IsInitialized", &py.is_initialized, 0}, {"Py_GetVersion", &py.version, 0},
        {"Py_InitializeEx", &py.initialize, 0},      {"PyEval_SaveThread", &py.save_thread, 0},
        {"PyGILState_Ensure", &py.acquire, 0},       {"PyGILState_Release", &py.release, 0},
        {"PyRun_SimpleString", &py.run, 0},          {"PyImport_ImportModule", &py.import, 0},
        {"PyObject_CallMethod", &py.call, 0},        {"PyLong_AsSize_t", &py.as_size, 0},
        {"Py_DecRef", &py.drop, 0},                  {"PyErr_Fetch", &py.fetch_error, 0},
        {"PyObject_Str", &py.text, 0},               {"PyUnicode_AsUTF8", &py.utf8, 0},
        {"Py_DecodeLocale", &py.decode, 0},          {"Py_SetProgramName", &py.set_program, 1},
        {"Py_IgnoreEnvironmentFlag", &py.ignore_environment, 1},
    };
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        void *found = dlsym(RTLD_DEFAULT, wanted[i].name);
        if (!found && !wanted[i].optional)
            return refuse(report, "this Python lacks %s", wanted[i].name);
        *(void **)wanted[i].place = found;
    }
    return 1;
}

static int check_version(Report report)
{
    int major = 0, minor = 0;
    sscanf(py.version(), "%d.%d", &major, &minor);
    if (major == ROCKETNPU_MAJOR && minor == ROCKETNPU_MINOR)
        return 1;
    return refuse(report,
                  "this process runs Python %d.%d, but Python %d.%d (%s) built " ROCKETNPU_TITLE ": install rocketnpu for "
                  "Python %d.%d and run its `rocketnpu " ROCKETNPU_VERB "`",
                  major, minor, ROCKETNPU_MAJOR, ROCKETNPU_MINOR, ROCKETNPU_PYTHON, major, minor);
}

/* Bring Python into a process that has none. */
static int start_python(Report report)
{
    if (!*ROCKETNPU_LIBPYTHON)
        return refuse(report, "%s has no shared libpython, so only Python programs can load this library: %s",
                      ROCKETNPU_PYTHON, ROCKETNPU_LIBPYTHON_ADVICE);
    if (!check_file(report, "Python", ROCKETNPU_PYTHON) || !check_file(report, "Python's library", ROCKETNPU_STDLIB))
        return 0;
    if (!dlopen(ROCKETNPU_LIBPYTHON, RTLD_NOW | RTLD_GLOBAL))
        return refuse(report, "cannot load Python: %s; %s", dlerror(), ROCKETNPU_LIBPYTHON_ADVICE);
    if (!find_symbols(report) || !check_version(report))
        return 0;
    if (py.is_initialized())
        return 1;
    if (py.ignore_environment)
        *py.ignore_environment = 1;
    if (py.set_program)
        py.set_program(py.decode(ROCKETNPU_PYTHON, NULL));
    py.initialize(0);
    py.save_thread();
    return 1;
}

static int start(Report report)
{
    if (!check_file(report, "the package", ROCKETNPU_PACKAGE))
        return 0;
    int (*is_initialized)(void) = (int (*)(void))dlsym(RTLD_DEFAULT, "Py_IsInitialized");
    if (is_initialized && is_initialized())
        return find_symbols(report) && check_version(report);
    return start_python(report);
}

/* Runs no Python code while it holds the lock: a thread that waits here may hold Python's. */
static int ensure_started(Report report)
{
    pthread_mutex_lock(&starting);
    if (!ready)
        ready = start(report);
    int is_ready = ready;
    pthread_mutex_unlock(&starting);
    return is_ready;
}

/* Take Python's pending error; tell of it if there is somebody to tell. */
static void fail(Report report, const char *what, int quiet)
{
    Object *type = NULL, *value = NULL, *trace = NULL;
    py.fetch_error(&type, &value, &trace);
    Object *text = value ? py.text(value) : NULL;
    const char *words = text ? py.utf8(text) : NULL;
    if (!quiet)
        refuse(report, "%s: %s (built by %s)", what, words ? words : "unknown error", ROCKETNPU_PYTHON);
    Object *all[] = {text, trace, value, type};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i])
            py.drop(all[i]);
}

static Object *import_library(Report report)
{
    if (!library && !py.run(ROCKETNPU_FIND))
        library = py.import(ROCKETNPU_MODULE);
    if (!library)
        fail(report, "cannot import " ROCKETNPU_TITLE, 0);
    return library;
}
