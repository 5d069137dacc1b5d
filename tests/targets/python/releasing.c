/* An extension module that allocates while it does not hold the interpreter's lock. Nothing that it
   allocates is freed, but for what it says. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <pthread.h>
#include <stdlib.h>

static void *volatile last;

/* `count` blocks of 3001 bytes by malloc, as many of 3003 by PyMem_RawMalloc, as many that grow to
   3005; and as many that are freed. */
static void allocate(int count) {
    for (int i = 0; i < count; i++) {
        last = malloc(3001);
        last = PyMem_RawMalloc(3003);
        last = PyMem_RawRealloc(PyMem_RawMalloc(10), 3005);
        PyMem_RawFree(PyMem_RawMalloc(3007));
        free(malloc(3009));
    }
}

static PyObject *work(PyObject *self, PyObject *args) {
    int count, number;
    if (!PyArg_ParseTuple(args, "ii", &count, &number)) return NULL;
    Py_BEGIN_ALLOW_THREADS
    allocate(count);
    Py_END_ALLOW_THREADS
    return PyLong_FromLong(number);
}

static void *begin(void *count) {
    allocate(*(int *)count);
    return NULL;
}

static PyObject *foreign(PyObject *self, PyObject *args) {
    int count;
    pthread_t thread;
    if (!PyArg_ParseTuple(args, "i", &count)) return NULL;
    Py_BEGIN_ALLOW_THREADS
    pthread_create(&thread, NULL, begin, &count);
    pthread_join(thread, NULL);
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"work", work, METH_VARARGS, "work(count, number)"},
    {"foreign", foreign, METH_VARARGS, "foreign(count)"},
    {NULL, NULL, 0, NULL},
};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "releasing", NULL, -1, methods};

PyMODINIT_FUNC PyInit_releasing(void) { return PyModule_Create(&module); }
