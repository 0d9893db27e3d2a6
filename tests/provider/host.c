/* A program in C that uses the execution provider: host LIBRARY MODEL OPTION=VALUE... <input >output
 *
 * The model has one input and one output of floats; their bytes come in and go out by standard input and output.
 */
#include <onnxruntime_c_api.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const OrtApi *api;

static void check(OrtStatus *status)
{
    if (!status)
        return;
    fprintf(stderr, "host: %s\n", api->GetErrorMessage(status));
    exit(1);
}

int main(int count, char **words)
{
    const char *keys[16], *values[16];
    size_t options_count = 0;
    api = OrtGetApiBase()->GetApi(ORT_API_VERSION);
    for (int i = 3; i < count; i++) {
        char *equals = strchr(words[i], '=');
        *equals = 0;
        keys[options_count] = words[i];
        values[options_count++] = equals + 1;
    }
    OrtEnv *env;
    check(api->CreateEnv(ORT_LOGGING_LEVEL_ERROR, "host", &env));
    check(api->RegisterExecutionProviderLibrary(env, "RocketNpuExecutionProvider", words[1]));
    const OrtEpDevice *const *devices, *chosen = NULL;
    size_t devices_count;
    check(api->GetEpDevices(env, &devices, &devices_count));
    for (size_t i = 0; i < devices_count; i++)
        if (!strcmp(api->EpDevice_EpName(devices[i]), "RocketNpuExecutionProvider"))
            chosen = devices[i];
    if (!chosen) {
        fprintf(stderr, "host: no device of the provider\n");
        return 1;
    }
    OrtSessionOptions *options;
    check(api->CreateSessionOptions(&options));
    check(api->SessionOptionsAppendExecutionProvider_V2(options, env, &chosen, 1, keys, values, options_count));
    OrtSession *session;
    check(api->CreateSession(env, words[2], options, &session));

    OrtAllocator *allocator;
    char *input, *output;
    OrtTypeInfo *type;
    const OrtTensorTypeAndShapeInfo *info;
    int64_t shape[8];
    size_t rank, elements;
    check(api->GetAllocatorWithDefaultOptions(&allocator));
    check(api->SessionGetInputName(session, 0, allocator, &input));
    check(api->SessionGetOutputName(session, 0, allocator, &output));
    check(api->SessionGetInputTypeInfo(session, 0, &type));
    check(api->CastTypeInfoToTensorInfo(type, &info));
    check(api->GetDimensionsCount(info, &rank));
    check(api->GetDimensions(info, shape, rank));
    check(api->GetTensorShapeElementCount(info, &elements));
    OrtValue *given, *found = NULL;
    check(api->CreateTensorAsOrtValue(allocator, shape, rank, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, &given));
    void *data;
    check(api->GetTensorMutableData(given, &data));
    if (fread(data, sizeof(float), elements, stdin) != elements)
        return 2;
    for (int run = 0; run < 3; run++) {
        if (found)
            api->ReleaseValue(found);
        found = NULL;
        check(api->Run(session, NULL, (const char *const *)&input, (const OrtValue *const *)&given, 1,
                       (const char *const *)&output, 1, &found));
    }
    OrtTensorTypeAndShapeInfo *result;
    check(api->GetTensorTypeAndShape(found, &result));
    check(api->GetTensorShapeElementCount(result, &elements));
    check(api->GetTensorMutableData(found, &data));
    fwrite(data, sizeof(float), elements, stdout);

    api->ReleaseTensorTypeAndShapeInfo(result);
    api->ReleaseValue(found);
    api->ReleaseValue(given);
    api->ReleaseTypeInfo(type);
    check(api->AllocatorFree(allocator, input));
    check(api->AllocatorFree(allocator, output));
    api->ReleaseSession(session);
    api->ReleaseSessionOptions(options);
    check(api->UnregisterExecutionProviderLibrary(env, "RocketNpuExecutionProvider"));
    api->ReleaseEnv(env);
    return 0;
}
