package kern

import (
	"context"
	"runtime/debug"

	"segue/weights"
)

// An Uploader puts a model's tensors on a backend. It keeps what it made, for the model to weigh and to free, and the first error,
// or why its context ended, after which it makes nothing: so a load reads as a list of tensors and looks at Err once, at its end. What the methods return
// after an error must not be used.
type Uploader struct {
	Context context.Context // ends the uploading
	Backend Backend
	Made    []Object
	Err     error
}

// Table, Matrix, Vector and Filter are the backend's. A vector and a filter may be a derived tensor.
func (u *Uploader) Table(p Precision, t *weights.Tensor) Matrix {
	return upload(u, func() (Matrix, error) { return u.Backend.Table(p, t) })
}

func (u *Uploader) Matrix(p Precision, parts ...*weights.Tensor) Matrix {
	return upload(u, func() (Matrix, error) { return u.Backend.Matrix(p, parts...) })
}

func (u *Uploader) Vector(t *weights.Tensor) Slice {
	made := upload(u, func() (Buffer, error) { return u.Backend.Vector(Ready(u.Backend, t)) })
	if u.Err != nil {
		return Slice{}
	}
	return All(made)
}

func (u *Uploader) Filter(t *weights.Tensor, transposed bool) Filter {
	return upload(u, func() (Filter, error) { return u.Backend.Filter(Ready(u.Backend, t), transposed) })
}

func upload[T Object](u *Uploader, backend func() (T, error)) (made T) {
	if u.Err == nil && u.Context.Err() != nil {
		u.Err = context.Cause(u.Context)
	}
	if u.Err != nil {
		return made
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if bug := recover(); bug != nil {
			u.Err = weights.Fault(bug)
		}
	}()
	if made, u.Err = backend(); u.Err == nil {
		u.Made = append(u.Made, made)
	}
	return made
}
