package metalkern

// Ops that are still to come: each is a stream error.

import "errors"

var errPending = errors.New("metalkern: this op is still to come")
