/* egress._kernel: what Python calls. Nothing here trusts its caller with memory: sizes are those of
   the buffers given, and all that is read from a record is checked before use. What a record must
   be refused for is the number of a segment; egress.reference is asked for the reason.

   Written to the stable ABI of Python 3.11, so that one build serves all later versions.

   To add functions from another file (an encoder's, say): give it an array of PyMethodDef that
   ends in zeros, declare it below, and name it in `more_methods`. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdlib.h>

#include "kernel.h"

extern PyMethodDef encode_methods[]; /* encode_module.c */

static PyMethodDef *const more_methods[] = {encode_methods, NULL};

static const char SETTING[] = "egress._kernel.Setting";

static void setting_free(PyObject *capsule) { free(PyCapsule_GetPointer(capsule, SETTING)); }

static PyObject *py_setting(PyObject *self, PyObject *args) {
    unsigned int word;
    int level_bits;
    Setting *setting;
    PyObject *capsule;
    (void)self;
    if (!PyArg_ParseTuple(args, "Ii", &word, &level_bits)) return NULL;
    if (level_bits != 8 && level_bits != 16) {
        PyErr_Format(PyExc_ValueError, "level_bits must be 8 or 16, not %d", level_bits);
        return NULL;
    }
    setting = malloc(sizeof *setting);
    if (!setting) return PyErr_NoMemory();
    Py_BEGIN_ALLOW_THREADS;
    setting_build(setting, word, level_bits);
    Py_END_ALLOW_THREADS;
    capsule = PyCapsule_New(setting, SETTING, setting_free);
    if (!capsule) free(setting);
    return capsule;
}

static PyObject *py_walk(PyObject *self, PyObject *args) {
    Py_buffer record, start;
    unsigned long long at, segments;
    unsigned int buffer_words, settings;
    int check;
    int64_t bad = BAD_CALL;
    (void)self;
    if (!PyArg_ParseTuple(args, "y*KKIIpw*", &record, &at, &segments, &buffer_words, &settings, &check,
                          &start))
        return NULL;
    if (at <= (unsigned long long)record.len && (uintptr_t)start.buf % 8 == 0 &&
        segments < (unsigned long long)start.len / 8) {
        Py_BEGIN_ALLOW_THREADS;
        bad = walk(record.buf, (size_t)record.len, at, segments, buffer_words, settings, check,
                   start.buf);
        Py_END_ALLOW_THREADS;
    }
    PyBuffer_Release(&record);
    PyBuffer_Release(&start);
    if (bad == BAD_CALL) {
        PyErr_SetString(PyExc_ValueError, "start must have an 8-byte place for each segment + 1");
        return NULL;
    }
    return PyLong_FromLongLong(bad);
}

static PyObject *py_decode(PyObject *self, PyObject *args) {
    Py_buffer record, start, out;
    PyObject *settings;
    Job job;
    unsigned long long first, last, weights, origin;
    unsigned int segment_weights, interleave;
    int64_t bad = BAD_CALL;
    size_t element;
    Py_ssize_t count;
    (void)self;
    memset(&job, 0, sizeof job);
    if (!PyArg_ParseTuple(args, "y*y*KKO!iKIIw*Kifpi", &record, &start, &first, &last,
                          &PyTuple_Type, &settings, &job.level_bits, &weights, &segment_weights,
                          &interleave, &out, &origin, &job.kind, &job.step, &job.check,
                          &job.kernel))
        return NULL;
    job.record = record.buf;
    job.size = (size_t)record.len;
    job.start = start.buf;
    job.first = first;
    job.last = last;
    job.weights = weights;
    job.segment_weights = segment_weights;
    job.interleave = interleave;
    job.out = out.buf;
    job.origin = origin;
    element = job.kind == AS_FLOAT32 ? 4 : job.kind == AS_BFLOAT16 ? 2 : (size_t)job.level_bits / 8;
    job.room = element ? (size_t)out.len / element : 0;
    count = PyTuple_Size(settings);
    job.settings_count = count <= MAX_SETTINGS ? (int)count : 0;
    for (int i = 0; i < job.settings_count; i++) {
        job.settings[i] = PyCapsule_GetPointer(PyTuple_GetItem(settings, i), SETTING);
        if (!job.settings[i]) goto done;
    }
    if (element && (job.level_bits == 8 || job.level_bits == 16) && job.kind >= 0 &&
        job.kind <= AS_BFLOAT16 && (uintptr_t)out.buf % element == 0 &&
        (uintptr_t)start.buf % 8 == 0 && last - first < (unsigned long long)start.len / 8) {
        Py_BEGIN_ALLOW_THREADS;
        bad = decode_job(&job);
        Py_END_ALLOW_THREADS;
    }
    if (bad == NO_MEMORY) PyErr_NoMemory();
    if (bad == BAD_CALL) PyErr_SetString(PyExc_ValueError, "buffers and numbers do not agree");
done:
    PyBuffer_Release(&record);
    PyBuffer_Release(&start);
    PyBuffer_Release(&out);
    return PyErr_Occurred() ? NULL : PyLong_FromLongLong(bad);
}

static PyObject *py_crc16(PyObject *self, PyObject *args) {
    Py_buffer data;
    unsigned short value = 0xFFFF;
    uint16_t crc;
    (void)self;
    if (!PyArg_ParseTuple(args, "y*|H", &data, &value)) return NULL;
    Py_BEGIN_ALLOW_THREADS;
    crc = crc16(data.buf, (size_t)data.len, value);
    Py_END_ALLOW_THREADS;
    PyBuffer_Release(&data);
    return PyLong_FromLong(crc);
}

static PyObject *py_supported(PyObject *self, PyObject *args) {
    (void)self;
    (void)args;
#if EGRESS_X86
    if (has_avx512()) return Py_BuildValue("(sss)", "portable", "avx2", "avx512");
    if (has_avx2()) return Py_BuildValue("(ss)", "portable", "avx2");
#endif
    return Py_BuildValue("(s)", "portable");
}

static PyMethodDef methods[] = {
    {"setting", py_setting, METH_VARARGS,
     "setting(word, level_bits)\n--\n\nTables that decode a setting's word."},
    {"walk", py_walk, METH_VARARGS,
     "walk(record, at, segments, buffer_words, settings, check, start)\n--\n\n"
     "Fill start with the byte of each segment's header; -1, or the first that is bad."},
    {"decode", py_decode, METH_VARARGS,
     "decode(record, start, first, last, settings, level_bits, weights, segment_weights,\n"
     "       interleave, out, origin, kind, step, check, kernel)\n--\n\n"
     "Decode segments first..last-1; -1, or the first that is bad."},
    {"crc16", py_crc16, METH_VARARGS,
     "crc16(data, value=0xFFFF)\n--\n\nCRC-16/IBM-3740 of data."},
    {"supported", py_supported, METH_NOARGS,
     "supported()\n--\n\nNames of the kernels that this processor runs."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "egress._kernel", "Compiled codec: see egress.kernels.", -1, methods,
    NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__kernel(void) {
    PyObject *self = PyModule_Create(&module);
    crc_setup();
    for (size_t i = 0; self && more_methods[i]; i++)
        if (PyModule_AddFunctions(self, more_methods[i])) {
            Py_DECREF(self);
            return NULL;
        }
    return self;
}
