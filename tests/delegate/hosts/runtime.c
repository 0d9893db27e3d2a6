/* A host that is a C++ TensorFlow Lite runtime and no Python: LiteRT's libLiteRt.so through its C interface.
 *
 *     runtime LIBLITERT LIBRARY MODEL ELEMENT_TYPE RANK DIMENSION... OUTPUT_TYPE OUTPUT_RANK DIMENSION... [KEY VALUE]...
 *
 * Registers an accelerator that hands out the delegate of LIBRARY, runs MODEL once on the bytes of standard input and
 * writes the bytes of its output to standard output. Types are LiteRT's numbers.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OK = 0, CPU = 1 << 0, OURS = 1 << 1, READ = 0, WRITE = 1, MAX_RANK = 8 };
/* OURS is LiteRT's class of GPUs: it would not ask for its class of NPUs where it finds none of its own. */

typedef void *Handle;
typedef struct {
    int type;
    unsigned int rank : 7;
    unsigned int has_strides : 1;
    int32_t dimensions[MAX_RANK];
    uint32_t strides[MAX_RANK];
} TensorType;
typedef struct {
    int major, minor, patch;
} Version;

static void *runtime;
static Handle (*create)(char **, char **, size_t, void (*)(const char *));
static void (*destroy)(void *);
static char *keys[16], *values[16];
static size_t count;

static void report(const char *text) { fprintf(stderr, "host was told: %s\n", text); }

static void need(int passed, const char *what)
{
    if (!passed) {
        fprintf(stderr, "failed: %s\n", what);
        exit(1);
    }
}

#define CALL(name, ...) \
    need(((int (*)())dlsym(runtime, #name))(__VA_ARGS__) == OK, #name)

static int get_name(Handle accelerator, const char **name) { return *name = "rocketnpu", OK; }
static int get_version(Handle accelerator, Version *version) { return *version = (Version){1, 0, 0}, OK; }
static int get_hardware(Handle accelerator, int *hardware) { return *hardware = OURS, OK; }
static int is_compiler(Handle accelerator, _Bool *answer) { return *answer = 1, OK; }

static int make_delegate(Handle context, Handle environment, Handle accelerator, Handle options, Handle *wrapper)
{
    Handle delegate = create(keys, values, count, report);
    if (!delegate)
        return 1;
    return ((int (*)(Handle, void (*)(void *), Handle *))dlsym(runtime, "LiteRtWrapDelegate"))(delegate, destroy,
                                                                                                wrapper);
}

static char **read_type(char **arguments, TensorType *type)
{
    memset(type, 0, sizeof *type);
    type->type = atoi(*arguments++);
    type->rank = atoi(*arguments++);
    for (unsigned i = 0; i < type->rank; i++)
        type->dimensions[i] = atoi(*arguments++);
    return arguments;
}

static size_t size_of(const TensorType *type)
{
    size_t size = type->type == 1 ? 4 : 1;
    for (unsigned i = 0; i < type->rank; i++)
        size *= type->dimensions[i];
    return size;
}

int main(int argc, char **argv)
{
    runtime = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    void *library = dlopen(argv[2], RTLD_NOW | RTLD_LOCAL);
    need(runtime && library, "loading the libraries");
    create = dlsym(library, "tflite_plugin_create_delegate");
    destroy = dlsym(library, "tflite_plugin_destroy_delegate");
    TensorType input_type, output_type;
    char **rest = read_type(read_type(argv + 4, &input_type), &output_type);
    for (; rest[0] && rest[1]; rest += 2, count++)
        keys[count] = rest[0], values[count] = rest[1];

    Handle environment, accelerator, model, options, cpu_options, compiled, requirements, input, output;
    void *memory;
    CALL(LiteRtCreateEnvironment, 0, NULL, &environment);
    CALL(LiteRtCreateAccelerator, &accelerator);
    CALL(LiteRtSetAcceleratorGetName, accelerator, get_name);
    CALL(LiteRtSetAcceleratorGetVersion, accelerator, get_version);
    CALL(LiteRtSetAcceleratorGetHardwareSupport, accelerator, get_hardware);
    CALL(LiteRtSetIsAcceleratorDelegateResponsibleForJitCompilation, accelerator, is_compiler);
    CALL(LiteRtSetDelegateFunction, accelerator, make_delegate);
    CALL(LiteRtRegisterAccelerator, environment, accelerator, NULL, NULL);
    CALL(LiteRtCreateModelFromFile, environment, argv[3], &model);
    CALL(LiteRtCreateOptions, &options);
    CALL(LiteRtSetOptionsHardwareAccelerators, options, OURS | CPU);
    CALL(LiteRtCreateOpaqueOptions, "xnnpack", strdup("kernel_mode = \"builtin\"\n"), free, &cpu_options);
    CALL(LiteRtAddOpaqueOptions, options, cpu_options);
    CALL(LiteRtCreateCompiledModel, environment, model, options, &compiled);

    const size_t first = 0;
    CALL(LiteRtGetCompiledModelInputBufferRequirements, compiled, first, first, &requirements);
    CALL(LiteRtCreateManagedTensorBufferFromRequirements, environment, &input_type, requirements, &input);
    CALL(LiteRtGetCompiledModelOutputBufferRequirements, compiled, first, first, &requirements);
    CALL(LiteRtCreateManagedTensorBufferFromRequirements, environment, &output_type, requirements, &output);
    CALL(LiteRtLockTensorBuffer, input, &memory, WRITE);
    need(fread(memory, 1, size_of(&input_type), stdin) == size_of(&input_type), "reading the input");
    CALL(LiteRtUnlockTensorBuffer, input);
    CALL(LiteRtRunCompiledModel, compiled, first, (size_t)1, &input, (size_t)1, &output);
    CALL(LiteRtLockTensorBuffer, output, &memory, READ);
    fwrite(memory, 1, size_of(&output_type), stdout);
    CALL(LiteRtUnlockTensorBuffer, output);
    ((void (*)(Handle))dlsym(runtime, "LiteRtDestroyTensorBuffer"))(input);
    ((void (*)(Handle))dlsym(runtime, "LiteRtDestroyTensorBuffer"))(output);
    ((void (*)(Handle))dlsym(runtime, "LiteRtDestroyCompiledModel"))(compiled);
    ((void (*)(Handle))dlsym(runtime, "LiteRtDestroyOptions"))(options);
    ((void (*)(Handle))dlsym(runtime, "LiteRtDestroyModel"))(model);
    ((void (*)(Handle))dlsym(runtime, "LiteRtDestroyEnvironment"))(environment);
    return 0;
}
