/* What Python calls to encode. As in module.c, no size or number is taken on trust. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "encode.h"
#include "statistics.h"

enum { MAX_BUFFERS = 6 };

/* Whether a buffer holds whole elements of `size` bytes, aligned. */
static int is_array(const Py_buffer *buffer, size_t size) {
    return (size_t)buffer->len % size == 0 && (uintptr_t)buffer->buf % size == 0;
}

static void release(Py_buffer *buffers, int count) {
    while (count--) PyBuffer_Release(buffers + count);
}

static PyObject *contradiction(void) {
    PyErr_SetString(PyExc_ValueError, "arrays and numbers do not agree");
    return NULL;
}

static PyObject *py_encode(PyObject *self, PyObject *args) {
    Py_buffer b[MAX_BUFFERS]; /* levels, counts, choice, words, settings, out */
    EncodeJob job;
    unsigned long long first;
    int64_t bad = BAD_CALL;
    (void)self;
    memset(&job, 0, sizeof job);
    if (!PyArg_ParseTuple(args, "y*iy*y*y*Ky*w*i", b, &job.level_bits, b + 1, b + 2, b + 3, &first,
                          b + 4, b + 5, &job.kernel))
        return NULL;
    if ((job.level_bits == 8 || job.level_bits == 16) &&
        is_array(b, (size_t)job.level_bits / 8) && is_array(b + 1, 8) && is_array(b + 2, 8) &&
        is_array(b + 3, 8) && is_array(b + 4, 4) && b[1].len == b[2].len &&
        b[1].len == b[3].len) {
        job.levels = b[0].buf;
        job.weights = (size_t)b[0].len * 8 / (size_t)job.level_bits;
        job.counts = b[1].buf;
        job.choice = b[2].buf;
        job.words = b[3].buf;
        job.segments = (size_t)b[1].len / 8;
        job.first = first;
        job.settings = b[4].buf;
        job.settings_count = (size_t)b[4].len / 4;
        job.out = b[5].buf;
        job.room = (size_t)b[5].len;
        Py_BEGIN_ALLOW_THREADS;
        bad = encode_segments(&job);
        Py_END_ALLOW_THREADS;
    }
    release(b, 6);
    if (bad == NO_MEMORY) return PyErr_NoMemory();
    if (bad == BAD_CALL) return contradiction();
    return PyLong_FromLongLong(bad);
}

/* Levels and counts of a job, which b[0] and b[1] hold; 0 if they do not agree. */
static int statistics_job(StatisticsJob *job, const Py_buffer *b) {
    if ((job->level_bits != 8 && job->level_bits != 16) ||
        !is_array(b, (size_t)job->level_bits / 8) || !is_array(b + 1, 8))
        return 0;
    job->levels = b[0].buf;
    job->weights = (size_t)b[0].len * 8 / (size_t)job->level_bits;
    job->counts = b[1].buf;
    job->segments = (size_t)b[1].len / 8;
    return statistics_fit(job);
}

static PyObject *py_count(PyObject *self, PyObject *args) {
    Py_buffer b[5]; /* levels, counts, symbols, runs, closing */
    StatisticsJob job;
    Tails tails = {0, 0};
    unsigned long long table;
    int fit;
    (void)self;
    memset(&job, 0, sizeof job);
    if (!PyArg_ParseTuple(args, "y*iy*Kw*w*w*", b, &job.level_bits, b + 1, &table, b + 2, b + 3,
                          b + 4))
        return NULL;
    job.table = (size_t)table;
    Py_BEGIN_ALLOW_THREADS;
    fit = statistics_job(&job, b) && is_array(b + 2, 4) && is_array(b + 3, 4) &&
          is_array(b + 4, 8) && (size_t)b[2].len / 4 == job.segments * job.table &&
          (size_t)b[3].len / 4 == job.segments * 2 * RUNS &&
          (size_t)b[4].len / 8 == job.segments;
    if (fit) tails = statistics_count(&job, b[2].buf, b[3].buf, b[4].buf);
    Py_END_ALLOW_THREADS;
    release(b, 5);
    if (!fit) return contradiction();
    return Py_BuildValue("(nn)", (Py_ssize_t)tails.symbols, (Py_ssize_t)tails.runs);
}

static PyObject *py_list(PyObject *self, PyObject *args) {
    Py_buffer b[4]; /* levels, counts, symbol_tail, run_tail */
    StatisticsJob job;
    unsigned long long table, first;
    int fit;
    (void)self;
    memset(&job, 0, sizeof job);
    if (!PyArg_ParseTuple(args, "y*iy*KKw*w*", b, &job.level_bits, b + 1, &table, &first, b + 2,
                          b + 3))
        return NULL;
    job.table = (size_t)table;
    job.first = (size_t)first;
    Py_BEGIN_ALLOW_THREADS;
    fit = statistics_job(&job, b) && is_array(b + 2, 4) && is_array(b + 3, 4);
    if (fit) {
        Tails room = {(size_t)b[2].len / 8, (size_t)b[3].len / 12};
        statistics_list(&job, room, b[2].buf, b[3].buf);
    }
    Py_END_ALLOW_THREADS;
    release(b, 4);
    if (!fit) return contradiction();
    Py_RETURN_NONE;
}

PyMethodDef encode_methods[] = {
    {"encode", py_encode, METH_VARARGS,
     "encode(levels, level_bits, counts, choice, words, first, settings, out, kernel)\n--\n\n"
     "Write segments, of which the first has number first; -1, or the first that is refused."},
    {"count", py_count, METH_VARARGS,
     "count(levels, level_bits, counts, table, symbols, runs, closing)\n--\n\n"
     "Count symbols and runs into zeros; rows of the symbol tail and of the run tail."},
    {"list_tails", py_list, METH_VARARGS,
     "list_tails(levels, level_bits, counts, table, first, symbol_tail, run_tail)\n--\n\n"
     "Fill the tails."},
    {NULL, NULL, 0, NULL},
};
