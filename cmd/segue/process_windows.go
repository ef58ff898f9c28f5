package main

import "golang.org/x/sys/windows"

// stillActive is the exit code that Windows reports for a process that has none yet.
const stillActive = 259

// processAlive says whether a process of that id is running.
func processAlive(pid int64) bool {
	handle, err := windows.OpenProcess(windows.PROCESS_QUERY_LIMITED_INFORMATION, false, uint32(pid))
	if err != nil {
		return err == windows.ERROR_ACCESS_DENIED
	}
	defer windows.CloseHandle(handle)
	var code uint32
	return windows.GetExitCodeProcess(handle, &code) != nil || code == stillActive
}
