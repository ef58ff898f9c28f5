package bench

import (
	"bufio"
	"bytes"
	"os"
	"strconv"
)

// resetPeakMemory lets the peak begin anew; where the kernel forbids it, peaks are those of the whole run so far.
func resetPeakMemory() { _ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) }

// peakMemory is the most physical memory that the process has held, in bytes.
func peakMemory(int64) int64 {
	status, _ := os.ReadFile("/proc/self/status") // without it, 0
	lines := bufio.NewScanner(bytes.NewReader(status))
	for lines.Scan() {
		if value, ok := bytes.CutPrefix(lines.Bytes(), []byte("VmHWM:")); ok {
			kilobytes, _ := strconv.ParseInt(string(bytes.Fields(value)[0]), 10, 64)
			return kilobytes << 10
		}
	}
	return 0
}
