/* A host without Python and without TensorFlow Lite: loads a delegate library and makes delegates.
 *
 *     walk LIBRARY CYCLES [--threads] [KEY VALUE]...
 *
 * Makes and destroys CYCLES delegates with the given options, in four threads at once with --threads. Prints how many
 * were made, then the growth of resident memory (KiB) and of file descriptors after the first tenth of the cycles.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *(*create)(char **, char **, size_t, void (*)(const char *));
static void (*destroy)(void *);
static char *keys[16], *values[16];
static size_t count;

static void report(const char *text) { printf("host was told: %s\n", text); }

static long resident(void)
{
    long pages = 0, ignored;
    FILE *file = fopen("/proc/self/statm", "r");
    if (fscanf(file, "%ld %ld", &ignored, &pages) != 2)
        pages = 0;
    fclose(file);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static int descriptors(void)
{
    int found = 0;
    DIR *folder = opendir("/proc/self/fd");
    while (readdir(folder))
        found++;
    closedir(folder);
    return found;
}

static void *cycle(void *times)
{
    long made = 0;
    for (long i = 0; i < (long)times; i++) {
        void *delegate = create(keys, values, count, report);
        made += delegate != NULL;
        if (delegate)
            destroy(delegate);
    }
    return (void *)made;
}

int main(int argc, char **argv)
{
    void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    create = dlsym(library, "tflite_plugin_create_delegate");
    destroy = dlsym(library, "tflite_plugin_destroy_delegate");
    long cycles = atol(argv[2]), made = 0;
    int first = 3, threaded = argc > 3 && !strcmp(argv[3], "--threads");
    for (int i = first + threaded; i + 1 < argc; i += 2, count++)
        keys[count] = argv[i], values[count] = argv[i + 1];
    if (threaded) {
        pthread_t threads[4];
        for (int i = 0; i < 4; i++)
            pthread_create(&threads[i], NULL, cycle, (void *)cycles);
        for (int i = 0; i < 4; i++) {
            void *one;
            pthread_join(threads[i], &one);
            made += (long)one;
        }
        printf("made %ld\n", made);
        return 0;
    }
    made = (long)cycle((void *)(cycles / 10));
    long memory = resident();
    int files = descriptors();
    made += (long)cycle((void *)(cycles - cycles / 10));
    printf("made %ld, grew %ld KiB and %d descriptors\n", made, resident() - memory, descriptors() - files);
    return 0;
}
