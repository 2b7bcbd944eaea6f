/* imaging_db.codecs._kernel: the hot loops for Python; see imaging_db/codecs/kernel.py, which is its door. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <string.h>

#include "checksum.h"
#include "cpu.h"
#include "measure.h"
#include "png.h"

/* Take an array (Y, X) or (Y, X, S) of 8 or 16 bit whose rows are whole; say what is wrong with others. */
static int take_frame(PyObject *object, Py_buffer *view, frame *f)
{
    if (PyObject_GetBuffer(object, view, PyBUF_STRIDED_RO | PyBUF_FORMAT) < 0) return -1;
    const char *format = view->format ? view->format : "B";
    int order = *format && strchr("<>=@!|", *format) ? *format++ : '@';
    int colors = view->ndim == 3 ? (int)view->shape[2] : 1;
    int known = view->ndim >= 2 && view->ndim <= 3 && *format && strchr("BH?", *format) && !format[1]
                && view->itemsize <= 2 && (*format == 'H') == (view->itemsize == 2);
    int sides = known && view->shape[0] > 0 && view->shape[1] > 0 && view->shape[0] < 0x7fffffff
                && view->shape[1] < 0x7fffffff && (view->ndim == 2 || (view->shape[2] >= 1 && view->shape[2] <= 4));
    int whole = sides && view->strides[1] == colors * view->itemsize
                && (view->ndim == 2 || view->strides[2] == view->itemsize);
    if (!whole) {
        PyErr_SetString(PyExc_ValueError, "needs whole rows of 8 or 16 bit samples, (Y, X) or (Y, X, 1 to 4)");
        PyBuffer_Release(view);
        return -1;
    }
    f->samples = view->buf;
    f->stride = view->strides[0];
    f->height = (uint32_t)view->shape[0];
    f->width = (uint32_t)view->shape[1];
    f->colors = colors;
    f->depth = (int)view->itemsize * 8;
    f->swap = f->depth == 16 && order != '>' && order != '!';
    return 0;
}

static PyObject *copied(const void *from, size_t size)
{
    PyObject *data = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
    if (!data) return NULL;
    void *to = PyBytes_AsString(data);
    Py_BEGIN_ALLOW_THREADS
    memcpy(to, from, size);
    Py_END_ALLOW_THREADS
    return data;
}

static PyObject *bound(PyObject *module, PyObject *object)
{
    (void)module;
    Py_buffer view;
    frame f;
    if (take_frame(object, &view, &f) < 0) return NULL;
    size_t most = png_bound(&f);
    PyBuffer_Release(&view);
    return PyLong_FromSize_t(most);
}

/* The result is copied out of scratch memory that the caller keeps: to take the most that a PNG may need
 * from the system for every frame, and give back what was too much, costs more than the copy. Without
 * scratch memory the result is made in place: for large frames, where a copy would be memory twice. */
static PyObject *encode_png(PyObject *module, PyObject *args)
{
    (void)module;
    PyObject *object, *data = NULL;
    Py_buffer view, scratch = {0};
    frame f;
    size_t size = 0;
    if (!PyArg_ParseTuple(args, "O|w*", &object, &scratch)) return NULL;
    if (take_frame(object, &view, &f) < 0) {
        if (scratch.obj) PyBuffer_Release(&scratch);
        return NULL;
    }
    size_t most = png_bound(&f);
    if (!most || (scratch.obj && (size_t)scratch.len < most))
        PyErr_SetString(PyExc_ValueError, "too little room for the PNG");
    else if (scratch.obj || (data = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)most))) {
        uint8_t *out = data ? (uint8_t *)PyBytes_AsString(data) : scratch.buf;
        Py_BEGIN_ALLOW_THREADS
        size = png_encode(&f, out);
        Py_END_ALLOW_THREADS
        if (!size) { Py_CLEAR(data); PyErr_NoMemory(); }
        else if (data) _PyBytes_Resize(&data, (Py_ssize_t)size);
        else data = copied(scratch.buf, size);
    }
    PyBuffer_Release(&view);
    if (scratch.obj) PyBuffer_Release(&scratch);
    return data;
}

static PyObject *repeats(PyObject *module, PyObject *object)
{
    (void)module;
    Py_buffer view;
    frame f;
    if (take_frame(object, &view, &f) < 0) return NULL;
    int found;
    Py_BEGIN_ALLOW_THREADS
    found = png_repeats(&f);
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&view);
    return PyBool_FromLong(found);
}

static PyObject *unfilter(PyObject *module, PyObject *args)
{
    (void)module;
    Py_buffer rows, out;
    unsigned int height, bpp;
    int swap, failed = -1;
    if (!PyArg_ParseTuple(args, "y*w*IIp", &rows, &out, &height, &bpp, &swap)) return NULL;
    size_t n = height ? (size_t)out.len / height : 0;
    int fits = n && n * height == (size_t)out.len && (n + 1) * height == (size_t)rows.len
               && bpp >= 1 && bpp <= 8 && bpp != 5 && bpp != 7 && n % bpp == 0 && (!swap || bpp % 2 == 0);
    if (fits) {
        Py_BEGIN_ALLOW_THREADS
        failed = png_unfilter(rows.buf, height, n, bpp, swap, out.buf);
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&rows);
    PyBuffer_Release(&out);
    if (!fits) return PyErr_SetString(PyExc_ValueError, "rows and pixels do not fit each other"), NULL;
    if (failed) return PyErr_SetString(PyExc_ValueError, "a row has an unknown filter"), NULL;
    Py_RETURN_NONE;
}

static PyObject *measure(PyObject *module, PyObject *args)
{
    (void)module;
    PyObject *object;
    Py_buffer view;
    frame f;
    quality q;
    unsigned int step;
    if (!PyArg_ParseTuple(args, "OI", &object, &step)) return NULL;
    if (!step) return PyErr_SetString(PyExc_ValueError, "needs a step of 1 row at least"), NULL;
    if (take_frame(object, &view, &f) < 0) return NULL;
    size_t n = (size_t)f.width * (size_t)f.colors;
    if ((f.depth == 16 && !f.swap) || (f.depth == 16 && (((uintptr_t)f.samples | (uintptr_t)f.stride) & 1))) {
        PyBuffer_Release(&view);
        return PyErr_SetString(PyExc_ValueError, "needs samples in native order"), NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    q = (f.depth == 8 ? measure_8 : measure_16)(f.samples, f.stride, f.height, n, (size_t)f.colors, step);
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&view);
    return Py_BuildValue("IIKKK", q.minimum, q.maximum, (unsigned long long)q.sum,
                         (unsigned long long)q.saturated, (unsigned long long)q.gradient);
}

/* Checksums and the choice of instructions are here for the tests, which compare all ways. */
static PyObject *checksums(PyObject *module, PyObject *object)
{
    (void)module;
    Py_buffer view;
    if (PyObject_GetBuffer(object, &view, PyBUF_SIMPLE) < 0) return NULL;
    uint32_t crc = crc32_update(0, view.buf, (size_t)view.len);
    uint32_t adler = adler32_update(1, view.buf, (size_t)view.len);
    PyBuffer_Release(&view);
    return Py_BuildValue("kk", (unsigned long)crc, (unsigned long)adler);
}

static PyObject *use_vectors(PyObject *module, PyObject *allowed)
{
    (void)module;
    int yes = PyObject_IsTrue(allowed);
    if (yes < 0) return NULL;
    cpu_init(yes);
    return PyBool_FromLong(cpu_avx2);
}

static PyMethodDef methods[] = {
    {"bound", bound, METH_O, "Return the most bytes that the PNG of an array may have, 0 for too many."},
    {"encode_png", encode_png, METH_VARARGS,
     "Return the PNG of an array (Y, X) or (Y, X, S), uint8, bool or uint16: (pixels[, scratch of `bound` bytes])."},
    {"repeats", repeats, METH_O, "Return whether most of an array's rows is repetition, not camera noise."},
    {"unfilter", unfilter, METH_VARARGS, "Write the samples of filtered PNG rows: (rows, out, height, bpp, swap)."},
    {"measure", measure, METH_VARARGS,
     "Return minimum, maximum, sum and saturated samples, and the gradient of every step-th row: (pixels, step)."},
    {"checksums", checksums, METH_O, "Return CRC-32 and Adler-32 of bytes."},
    {"use_vectors", use_vectors, METH_O, "Allow or forbid vector instructions; return whether they are used."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_kernel", "The hot loops of imaging_db in C.", 0, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__kernel(void)
{
    const uint16_t one = 1;
    if (*(const uint8_t *)&one != 1) {
        PyErr_SetString(PyExc_ImportError, "the kernel is for little-endian processors");
        return NULL;
    }
    cpu_init(1);
    checksum_init();
    png_init();
    return PyModule_Create(&definition);
}
