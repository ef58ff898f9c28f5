package cuda

import "runtime"

// enter locks the goroutine to its thread and makes the context current there. If it returns no error, leave must follow.
func (d *Device) enter() error {
	runtime.LockOSThread()
	if err := d.api.setCurrent(d.context); err != nil {
		runtime.UnlockOSThread()
		return err
	}
	return nil
}

func leave() { runtime.UnlockOSThread() }
