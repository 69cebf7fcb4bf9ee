/* A driver without GPUs, for tests: libnvidia-ml.so.1 whose answers are in a file beside it.

   The file is <library>.state, and is read again when it has changed; after a line "frozen", never.
     gpu NAME UUID key=value ...   one GPU; a key that is not there is NOT_SUPPORTED
     proc GPU PID BYTES UTIL       a process that computes on it
     mig GPU USED TOTAL [ID GPM]   an instance of it, and its activity
     sample GPU KIND TIME VALUE    an entry of the driver's ring: KIND util or power
     init N                        what nvmlInit returns
     delay MS                      how long each query takes
   Keys: util memutil total used power clock memclock energy temp memtemp fan throttle ecc_corrected
   ecc_uncorrected pcie_recv pcie_sent nvlink_recv nvlink_sent gpm (the activity of the chip) err (what
   each query returns: 15 is a lost GPU). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define API __attribute__((visibility("default")))
enum { OK = 0, UNINITIALIZED = 1, INVALID = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, TOO_SMALL = 7 };
#define MOST 16
#define LISTED 256
#define ALL_KEYS(X) \
  X(util) X(memutil) X(total) X(used) X(power) X(clock) X(memclock) X(energy) X(temp) X(memtemp) X(fan) X(throttle) \
  X(ecc_corrected) X(ecc_uncorrected) X(pcie_recv) X(pcie_sent) X(nvlink_recv) X(nvlink_sent) X(gpm) X(err)
#define NUMBER(key) KEY_##key,
#define TEXT(key) #key,
enum { ALL_KEYS(NUMBER) KEYS };
static const char *const key_texts[] = {ALL_KEYS(TEXT)};

typedef unsigned long long u64;
typedef struct { char name[96], uuid[80]; u64 values[KEYS]; unsigned known; } gpu;
typedef struct { unsigned gpu, pid, util; u64 bytes; } process;
typedef struct { unsigned gpu, id, gpm; u64 used, total; } instance;
typedef struct { unsigned gpu; int is_power; u64 at; unsigned value; } sample;

static gpu gpus[MOST];
static process processes[LISTED];
static instance instances[LISTED];
static sample samples[LISTED];
static int n_gpus, n_processes, n_instances, n_samples, init_result, delay_ms, frozen, started;
static u64 calls;
static struct timespec read_at;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void parse(FILE *file) {
  char line[2048];
  n_gpus = n_processes = n_instances = n_samples = init_result = delay_ms = 0;
  while (fgets(line, sizeof line, file)) {
    process p;
    instance m;
    sample s;
    char kind[16];
    if (!strncmp(line, "frozen", 6)) frozen = 1;
    sscanf(line, "init %d", &init_result);
    sscanf(line, "delay %d", &delay_ms);
    if (sscanf(line, "proc %u %u %llu %u", &p.gpu, &p.pid, &p.bytes, &p.util) == 4 && n_processes < LISTED)
      processes[n_processes++] = p;
    m.id = n_instances, m.gpm = 0;
    if (sscanf(line, "mig %u %llu %llu %u %u", &m.gpu, &m.used, &m.total, &m.id, &m.gpm) >= 3 && n_instances < LISTED)
      instances[n_instances++] = m;
    if (sscanf(line, "sample %u %15s %llu %u", &s.gpu, kind, &s.at, &s.value) == 4 && n_samples < LISTED) {
      s.is_power = !strcmp(kind, "power");
      samples[n_samples++] = s;
    }
    gpu *g = &gpus[n_gpus];
    int used = 0;
    memset(g, 0, sizeof *g);
    if (n_gpus < MOST && sscanf(line, "gpu %95s %79s %n", g->name, g->uuid, &used) >= 2) {
      char *rest = line + used, *word, *state = NULL;
      while ((word = strtok_r(rest, " \n", &state))) {
        char key[20];
        u64 value;
        rest = NULL;
        for (int i = 0; i < KEYS && sscanf(word, "%19[^=]=%llu", key, &value) == 2; i++)
          if (!strcmp(key, key_texts[i])) {
            g->values[i] = value;
            g->known |= 1u << i;
          }
      }
      n_gpus++;
    }
  }
}

static void load(void) {
  if (frozen) return;
  Dl_info here;
  char path[4200];
  struct stat found;
  dladdr((void *)load, &here);
  snprintf(path, sizeof path, "%s.state", here.dli_fname);
  pthread_mutex_lock(&lock);
  if (!stat(path, &found) && memcmp(&found.st_mtim, &read_at, sizeof read_at)) {
    FILE *file = fopen(path, "r");
    if (file) {
      read_at = found.st_mtim;
      parse(file);
      fclose(file);
    }
  }
  pthread_mutex_unlock(&lock);
}

static gpu *at(void *handle) {
  load();
  calls++;
  if (delay_ms) usleep(delay_ms * 1000);
  long index = (long)handle - 1;
  return started && index >= 0 && index < n_gpus ? &gpus[index] : NULL;
}

static int find(gpu *g, int key, u64 *value) {
  if (key == KEYS || !(g->known >> key & 1)) return NOT_SUPPORTED;
  *value = g->values[key];
  return OK;
}

static int get(void *handle, int key, u64 *value) {
  gpu *g = at(handle);
  if (!g) return started ? INVALID : UNINITIALIZED;
  u64 error = 0;
  if (!find(g, KEY_err, &error) && error) return (int)error;
  return find(g, key, value);
}

static int get32(void *handle, int key, unsigned *value) {
  u64 found = 0;
  int result = get(handle, key, &found);
  if (!result) *value = (unsigned)found;
  return result;
}

API u64 fake_calls(void) { return calls; }
API int nvmlInit_v2(void) {
  load();
  if (!init_result) started++;
  return init_result;
}
API int nvmlInitWithFlags(unsigned flags) { (void)flags; return nvmlInit_v2(); }
API int nvmlShutdown(void) { return OK; }
API const char *nvmlErrorString(int error) { (void)error; return "error of the fake"; }
API int nvmlSystemGetDriverVersion(char *text, unsigned size) { snprintf(text, size, "999.01"); return OK; }
API int nvmlSystemGetNVMLVersion(char *text, unsigned size) { snprintf(text, size, "12.999.01"); return OK; }
API int nvmlDeviceGetCount_v2(unsigned *count) { load(); *count = n_gpus; return OK; }
API int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) {
  load();
  if ((int)index >= n_gpus) return INVALID;
  u64 error = 0;
  if (!find(&gpus[index], KEY_err, &error) && error) return (int)error;
  *handle = (void *)(long)(index + 1);
  return OK;
}
API int nvmlDeviceGetName(void *h, char *text, unsigned size) {
  gpu *g = at(h);
  if (!g) return INVALID;
  snprintf(text, size, "%s", g->name);
  return OK;
}
API int nvmlDeviceGetUUID(void *h, char *text, unsigned size) {
  gpu *g = at(h);
  if (!g) return INVALID;
  snprintf(text, size, "%s", g->uuid);
  return OK;
}
typedef struct { unsigned gpu, memory; } rates;
API int nvmlDeviceGetUtilizationRates(void *h, rates *found) {
  int result = get32(h, KEY_util, &found->gpu);
  found->memory = 0;
  return result ? result : (get32(h, KEY_memutil, &found->memory), OK);
}
typedef struct { unsigned version; u64 total, reserved, free, used; } memory_v2;
API int nvmlDeviceGetMemoryInfo_v2(void *h, memory_v2 *found) {
  if ((long)h > 1000) {
    int number = (long)h / 1000 - 1;
    if (number >= n_instances) return INVALID;
    *found = (memory_v2){found->version, instances[number].total, 0, 0, instances[number].used};
    return OK;
  }
  int result = get(h, KEY_total, &found->total);
  if (result) return result;
  get(h, KEY_used, &found->used);
  found->reserved = 0;
  found->free = found->total - found->used;
  return OK;
}
API int nvmlDeviceGetPowerUsage(void *h, unsigned *value) { return get32(h, KEY_power, value); }
API int nvmlDeviceGetTotalEnergyConsumption(void *h, u64 *value) { return get(h, KEY_energy, value); }
API int nvmlDeviceGetClockInfo(void *h, int kind, unsigned *value) {
  return get32(h, kind == 2 ? KEY_memclock : KEY_clock, value);
}
API int nvmlDeviceGetTemperature(void *h, int sensor, unsigned *value) { (void)sensor; return get32(h, KEY_temp, value); }
API int nvmlDeviceGetFanSpeed_v2(void *h, unsigned fan, unsigned *value) { (void)fan; return get32(h, KEY_fan, value); }
API int nvmlDeviceGetPcieThroughput(void *h, int kind, unsigned *value) {
  return get32(h, kind == 0 ? KEY_pcie_sent : KEY_pcie_recv, value);
}
API int nvmlDeviceGetCurrentClocksThrottleReasons(void *h, u64 *value) { return get(h, KEY_throttle, value); }
API int nvmlDeviceGetCurrentClocksEventReasons(void *h, u64 *value) { return get(h, KEY_throttle, value); }
API int nvmlDeviceGetTotalEccErrors(void *h, int kind, int counter, u64 *value) {
  (void)counter;
  return get(h, kind == 0 ? KEY_ecc_corrected : KEY_ecc_uncorrected, value);
}

typedef struct { unsigned id, scope; long long at, latency; int kind, result; u64 value; } field;
API int nvmlDeviceGetFieldValues(void *h, int count, field *fields) {
  for (int i = 0; i < count; i++) {
    unsigned id = fields[i].id;
    int key = id == 82 ? KEY_memtemp : id == 138 ? KEY_nvlink_sent : id == 139 ? KEY_nvlink_recv : KEYS;
    fields[i].value = 0;
    fields[i].kind = id == 82 ? 1 : 3;
    fields[i].result = get(h, key, &fields[i].value);
    if (fields[i].result == 15) return 15;
  }
  return OK;
}

typedef struct { unsigned pid; u64 bytes; unsigned gpu_instance, compute_instance; } running;
API int nvmlDeviceGetComputeRunningProcesses_v3(void *h, unsigned *count, running *found) {
  u64 error = 0;
  gpu *g = at(h);
  if (!g) return INVALID;
  if (!find(g, KEY_err, &error) && error) return (int)error;
  unsigned n = 0, room = *count;
  for (int i = 0; i < n_processes; i++)
    if (processes[i].gpu == (unsigned)(g - gpus)) {
      if (found && n < room) found[n] = (running){processes[i].pid, processes[i].bytes, ~0u, ~0u};
      n++;
    }
  *count = n;
  return n > room || (n && !found) ? TOO_SMALL : OK;
}
typedef struct { unsigned pid; u64 at; unsigned sm, memory, encoder, decoder; } used;
API int nvmlDeviceGetProcessUtilization(void *h, used *found, unsigned *count, u64 since) {
  gpu *g = at(h);
  if (!g) return INVALID;
  unsigned n = 0, room = *count;
  for (int i = 0; i < n_processes; i++)
    if (processes[i].gpu == (unsigned)(g - gpus)) {
      if (found && n < room) found[n] = (used){processes[i].pid, since + 1, processes[i].util, 0, 0, 0};
      n++;
    }
  *count = n;
  return !n ? NOT_FOUND : !found ? TOO_SMALL : OK;
}
typedef struct { u64 at; u64 value; } in_ring;
API int nvmlDeviceGetSamples(void *h, int kind, u64 since, int *type, unsigned *count, in_ring *found) {
  u64 error = 0;
  gpu *g = at(h);
  if (!g) return INVALID;
  if (!find(g, KEY_err, &error) && error) return (int)error;
  unsigned n = 0, room = *count, has_kind = 0;
  *type = 1;
  for (int i = 0; i < n_samples; i++)
    if (samples[i].gpu == (unsigned)(g - gpus) && samples[i].is_power == (kind == 0)) {
      has_kind = 1;
      if (samples[i].at <= since) continue;
      if (found && n < room) found[n] = (in_ring){samples[i].at, samples[i].value};
      n++;
    }
  *count = n;
  return !has_kind ? NOT_SUPPORTED : !n ? NOT_FOUND : OK;
}

API int nvmlDeviceGetMigMode(void *h, unsigned *current, unsigned *pending) {
  gpu *g = at(h);
  if (!g) return INVALID;
  *current = *pending = 0;
  for (int i = 0; i < n_instances; i++)
    if (instances[i].gpu == (unsigned)(g - gpus)) *current = *pending = 1;
  return OK;
}
API int nvmlDeviceGetMaxMigDeviceCount(void *h, unsigned *count) { (void)h; *count = 7; return OK; }
API int nvmlDeviceGetMigDeviceHandleByIndex(void *h, unsigned number, void **handle) {
  gpu *g = at(h);
  unsigned n = 0;
  if (!g) return INVALID;
  for (int i = 0; i < n_instances; i++)
    if (instances[i].gpu == (unsigned)(g - gpus) && n++ == number) {
      *handle = (void *)(long)((i + 1) * 1000 + 1);
      return OK;
    }
  return NOT_FOUND;
}

API int nvmlDeviceGetGpuInstanceId(void *h, unsigned *id) {
  int number = (int)((long)h / 1000) - 1;
  load();
  if (number < 0 || number >= n_instances) return INVALID;
  *id = instances[number].id;
  return OK;
}

typedef struct { unsigned version, is_supported; } support;
API int nvmlGpmQueryDeviceSupport(void *h, support *found) {
  u64 value;
  found->is_supported = !get(h, KEY_gpm, &value);
  return OK;
}
API int nvmlGpmSampleAlloc(void **made) { *made = calloc(1, sizeof(u64)); return OK; }
API int nvmlGpmSampleFree(void *made) { free(made); return OK; }
API int nvmlGpmSampleGet(void *h, void *made) { return get(h, KEY_gpm, made); }
API int nvmlGpmMigSampleGet(void *h, unsigned id, void *made) {
  gpu *g = at(h);
  if (!g) return INVALID;
  for (int i = 0; i < n_instances; i++)
    if (instances[i].gpu == (unsigned)(g - gpus) && instances[i].id == id) {
      *(u64 *)made = instances[i].gpm;
      return OK;
    }
  return INVALID;
}
typedef struct { unsigned id; int result; double value; char *texts[3]; } metric;
typedef struct { unsigned version, count; void *first, *second; metric metrics[]; } request;
API int nvmlGpmMetricsGet(request *asked) {
  for (unsigned i = 0; i < asked->count; i++) {
    asked->metrics[i].result = OK;
    asked->metrics[i].value = (double)*(u64 *)asked->second;
    asked->metrics[i].texts[0] = asked->metrics[i].texts[1] = asked->metrics[i].texts[2] = "";
  }
  return OK;
}
