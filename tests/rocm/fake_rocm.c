/* AMD's library of management without GPUs, for tests: librocm_smi64.so whose answers are in a file beside it.

   The file is <library>.state, and is read again at each call.
     gpu ID key=value ...     one GPU; a key that is not there is NOT_SUPPORTED
     proc GPU PID BYTES       a process that computes on it
     init N                   what rsmi_init returns
   Keys: util memutil total used socket average clock memclock old energy edge junction memtemp fan fanmax
   ecc_corrected ecc_uncorrected err (what each query returns). With "old" the list of frequencies has the
   layout of versions before 6. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define API __attribute__((visibility("default")))
enum { OK = 0, NOT_SUPPORTED = 2, NOT_FOUND = 10, OUT_OF_BOUNDS = 7 };

static int find_line(const char *kind, unsigned number, char *found) {
  Dl_info here;
  char path[4200], line[2048];
  dladdr((void *)find_line, &here);
  snprintf(path, sizeof path, "%s.state", here.dli_fname);
  FILE *file = fopen(path, "r");
  int count = 0;
  while (file && fgets(line, sizeof line, file))
    if (!strncmp(line, kind, strlen(kind))) {
      if (count == (int)number && found) strcpy(found, line);
      count++;
    }
  if (file) fclose(file);
  return count;
}

static int get(uint32_t device, const char *key, uint64_t *value) {
  char line[2048] = "", word[64];
  if ((int)device >= find_line("gpu ", device, line)) return OUT_OF_BOUNDS;
  snprintf(word, sizeof word, " %s=", key);
  char *at = strstr(line, word), *error = strstr(line, " err=");
  unsigned long long number;
  if (error && sscanf(error + 5, "%llu", &number) == 1) return (int)number;
  if (!at || sscanf(at + strlen(word), "%llu", &number) != 1) return NOT_SUPPORTED;
  *value = number;
  return OK;
}

static int get32(uint32_t device, const char *key, uint32_t *value) {
  uint64_t number;
  int result = get(device, key, &number);
  if (!result) *value = (uint32_t)number;
  return result;
}

API int rsmi_init(uint64_t flags) {
  char line[2048] = "";
  int result = 0;
  (void)flags;
  if (find_line("init ", 0, line)) sscanf(line, "init %d", &result);
  return result;
}
API int rsmi_num_monitor_devices(uint32_t *count) { *count = find_line("gpu ", 0, NULL); return OK; }
API int rsmi_dev_unique_id_get(uint32_t device, uint64_t *id) {
  char line[2048] = "";
  unsigned long long number = 0;
  if ((int)device >= find_line("gpu ", device, line)) return OUT_OF_BOUNDS;
  sscanf(line, "gpu %llx", &number);
  *id = number;
  return OK;
}
API int rsmi_dev_busy_percent_get(uint32_t d, uint32_t *value) { return get32(d, "util", value); }
API int rsmi_dev_memory_busy_percent_get(uint32_t d, uint32_t *value) { return get32(d, "memutil", value); }
API int rsmi_dev_memory_total_get(uint32_t d, uint32_t kind, uint64_t *value) {
  return kind ? NOT_SUPPORTED : get(d, "total", value);
}
API int rsmi_dev_memory_usage_get(uint32_t d, uint32_t kind, uint64_t *value) {
  return kind ? NOT_SUPPORTED : get(d, "used", value);
}
API int rsmi_dev_current_socket_power_get(uint32_t d, uint64_t *value) { return get(d, "socket", value); }
API int rsmi_dev_power_ave_get(uint32_t d, uint32_t sensor, uint64_t *value) {
  (void)sensor;
  return get(d, "average", value);
}
API int rsmi_dev_energy_count_get(uint32_t d, uint64_t *value, float *unit, uint64_t *time) {
  *unit = 15.5f;
  *time = 0;
  return get(d, "energy", value);
}
typedef struct { _Bool has_deep_sleep; uint32_t count, current; uint64_t frequencies[33]; } clocks;
typedef struct { uint32_t count, current; uint64_t frequencies[32]; } old_clocks;
API int rsmi_dev_gpu_clk_freq_get(uint32_t d, int kind, void *found) {
  uint64_t value, is_old;
  int result = get(d, kind == 0 ? "clock" : kind == 4 ? "memclock" : "?", &value);
  if (result) return result;
  if (!get(d, "old", &is_old)) *(old_clocks *)found = (old_clocks){3, 1, {500, value, 2000000000}};
  else *(clocks *)found = (clocks){1, 3, 1, {500, value, 2000000000}};
  return OK;
}
API int rsmi_dev_temp_metric_get(uint32_t d, uint32_t sensor, int metric, int64_t *value) {
  static const char *const names[] = {"edge", "junction", "memtemp"};
  return sensor > 2 || metric ? NOT_SUPPORTED : get(d, names[sensor], (uint64_t *)value);
}
API int rsmi_dev_fan_speed_get(uint32_t d, uint32_t fan, int64_t *value) {
  (void)fan;
  return get(d, "fan", (uint64_t *)value);
}
API int rsmi_dev_fan_speed_max_get(uint32_t d, uint32_t fan, uint64_t *value) {
  (void)fan;
  return get(d, "fanmax", value);
}
typedef struct { uint64_t corrected, uncorrected, deferred; } errors;
API int rsmi_dev_ecc_count_get(uint32_t d, uint64_t block, errors *found) {
  if (block != 1) return NOT_SUPPORTED;
  int result = get(d, "ecc_corrected", &found->corrected);
  return result ? result : get(d, "ecc_uncorrected", &found->uncorrected);
}
typedef struct { uint32_t pid, pasid; uint64_t vram, sdma; uint32_t occupancy; } process;
API int rsmi_compute_process_info_by_device_get(uint32_t pid, uint32_t d, process *found) {
  char line[2048] = "";
  int count = find_line("proc ", ~0u >> 1, NULL);
  for (int i = 0; i < count; i++) {
    unsigned gpu, number;
    unsigned long long bytes;
    find_line("proc ", i, line);
    if (sscanf(line, "proc %u %u %llu", &gpu, &number, &bytes) == 3 && gpu == d && number == pid) {
      *found = (process){pid, 0, bytes, 0, 0};
      return OK;
    }
  }
  return NOT_FOUND;
}
