/* What a log() call cannot cost less than: C against the plain (not the stable) C API of Python.
 *
 * A call reads the clock and commits one row (commit word last, release order) in a mapped file
 * whose pages are there. It has no check over the row, no growth, no error messages, and goes round
 * in one file: a limit to stand beside, not a logger.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { FILE_BYTES = 32 << 20, SLOTS = 1024, ROW_HEAD = 4 };

static uint64_t *file_words;
static size_t position;
static PyObject *known[SLOTS];
static PyObject *shape[64];
static Py_ssize_t shape_size;

static inline int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static inline uint64_t *stage(size_t words) {
    if (position + words > FILE_BYTES / 8) position = 0;
    return file_words + position;
}

static inline void commit(uint64_t *row, size_t words) {
    atomic_store_explicit((_Atomic uint64_t *)row, (uint64_t)words << 8 | 2, memory_order_release);
    position += words;
}

static inline int number(PyObject *object, double *value) {
    if (PyFloat_CheckExact(object)) {
        *value = PyFloat_AS_DOUBLE(object);
        return 0;
    }
    *value = PyFloat_AsDouble(object);
    return *value == -1.0 && PyErr_Occurred() ? -1 : 0;
}

static inline int write_one(uint64_t id, PyObject *value, PyObject *step) {
    double v;
    if (number(value, &v) < 0) return -1;
    int64_t s = PyLong_AsLongLong(step);
    if (s == -1 && PyErr_Occurred()) return -1;
    uint64_t *row = stage(ROW_HEAD + 1);
    row[1] = id;
    row[2] = (uint64_t)s;
    row[3] = (uint64_t)now();
    memcpy(row + 4, &v, 8);
    commit(row, ROW_HEAD + 1);
    return 0;
}

static inline uint64_t id_of(PyObject *name) {
    size_t slot = ((uintptr_t)name >> 4) & (SLOTS - 1);
    if (known[slot] != name) Py_XSETREF(known[slot], Py_NewRef(name));
    return slot;
}

static PyObject *nothing(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    Py_RETURN_NONE;
}

/* log(name, value, step) and, by keyword, log(name, value, step=step). */
static PyObject *log_(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    if (count + (names ? PyTuple_GET_SIZE(names) : 0) != 3) {
        PyErr_SetString(PyExc_TypeError, "log(name, value, step)");
        return NULL;
    }
    if (names && PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(names, 0), "step") != 0) {
        PyErr_SetString(PyExc_TypeError, "only step is a keyword");
        return NULL;
    }
    if (write_one(id_of(args[0]), args[1], args[2]) < 0) return NULL;
    Py_RETURN_NONE;
}

static PyObject *append(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "append(value, step)");
        return NULL;
    }
    if (write_one(7, args[0], args[1]) < 0) return NULL;
    Py_RETURN_NONE;
}

/* log_dict(values, step): one row; the keys are compared by identity with those of the last call. */
static PyObject *log_dict(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    PyObject *dict = args[0], *key, *value;
    Py_ssize_t at = 0, index = 0, size = PyDict_GET_SIZE(dict);
    int64_t s = PyLong_AsLongLong(args[1]);
    if (s == -1 && PyErr_Occurred()) return NULL;
    if (size > 64) Py_RETURN_NONE;
    uint64_t *row = stage(ROW_HEAD + size);
    while (PyDict_Next(dict, &at, &key, &value)) {
        double v;
        if (index >= shape_size || shape[index] != key) {
            Py_XSETREF(shape[index], Py_NewRef(key));
            shape_size = size;
        }
        if (number(value, &v) < 0) return NULL;
        memcpy(row + ROW_HEAD + index++, &v, 8);
    }
    row[1] = 8;
    row[2] = (uint64_t)s;
    row[3] = (uint64_t)now();
    commit(row, ROW_HEAD + size);
    Py_RETURN_NONE;
}

/* log_group(step, a, b, …): one row under names that were agreed on before. */
static PyObject *log_group(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    int64_t s = PyLong_AsLongLong(args[0]);
    if (s == -1 && PyErr_Occurred()) return NULL;
    uint64_t *row = stage(ROW_HEAD + count - 1);
    for (Py_ssize_t index = 1; index < count; index++) {
        double v;
        if (number(args[index], &v) < 0) return NULL;
        memcpy(row + ROW_HEAD - 1 + index, &v, 8);
    }
    row[1] = 9;
    row[2] = (uint64_t)s;
    row[3] = (uint64_t)now();
    commit(row, ROW_HEAD + count - 1);
    Py_RETURN_NONE;
}

/* extend(buffer): its bytes, copied into the file in one piece. */
static PyObject *extend(PyObject *self, PyObject *object) {
    Py_buffer view;
    if (PyObject_GetBuffer(object, &view, PyBUF_SIMPLE) < 0) return NULL;
    if (view.len > FILE_BYTES) {
        PyBuffer_Release(&view);
        PyErr_SetString(PyExc_ValueError, "larger than the file");
        return NULL;
    }
    memcpy(stage(view.len / 8), view.buf, view.len);
    position += view.len / 8;
    PyBuffer_Release(&view);
    Py_RETURN_NONE;
}

/* open(path): the file, with its space and its pages. */
static PyObject *open_(PyObject *self, PyObject *path) {
    int descriptor = open(PyUnicode_AsUTF8(path), O_RDWR | O_CREAT, 0600);
    if (descriptor < 0 || posix_fallocate(descriptor, 0, FILE_BYTES) != 0) {
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    void *start = mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    close(descriptor);
    if (start == MAP_FAILED) return PyErr_SetFromErrno(PyExc_OSError);
    memset(start, 0, FILE_BYTES);
    file_words = start;
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"open", open_, METH_O, NULL},
    {"nothing", (PyCFunction)(void (*)(void))nothing, METH_FASTCALL, NULL},
    {"log", (PyCFunction)(void (*)(void))log_, METH_FASTCALL | METH_KEYWORDS, NULL},
    {"append", (PyCFunction)(void (*)(void))append, METH_FASTCALL, NULL},
    {"log_dict", (PyCFunction)(void (*)(void))log_dict, METH_FASTCALL | METH_KEYWORDS, NULL},
    {"log_group", (PyCFunction)(void (*)(void))log_group, METH_FASTCALL, NULL},
    {"extend", extend, METH_O, NULL},
    {NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "limit", NULL, -1, methods};

PyMODINIT_FUNC PyInit_limit(void) { return PyModule_Create(&module); }
