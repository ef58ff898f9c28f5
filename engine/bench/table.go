package bench

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Table writes the report for people: the machine, what does not depend on the variant, a line for each variant, the
// recommendation and where its time goes.
func (r *Report) Table(w io.Writer) error {
	var b strings.Builder
	m := r.Machine
	fmt.Fprintf(&b, "%s · %s, %s · memory read at %.1f GB/s\n", r.subject(), m.Name, m.Detail, r.readSpeed())
	for _, row := range r.Rows {
		switch row.Stage {
		case StageText:
			fmt.Fprintf(&b, "%s: text %.1f ms", count(row.Threads, "thread"), row.MS)
		case StageEncode:
			fmt.Fprintf(&b, " · encode %.1f × real time", row.Realtime)
		case StageCodec:
			fmt.Fprintf(&b, " · codec %.1f × real time\n", row.Realtime)
		}
	}
	b.WriteByte('\n')
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, line := range r.cells() {
		fmt.Fprintln(table, strings.Join(line, "\t")+"\t")
	}
	table.Flush() // into memory, which cannot fail
	fmt.Fprintf(&b, "\n%s\n", strings.Join(r.legend(), "\n"))
	fmt.Fprintf(&b, "\nRecommended: %s.\n%s\n", r.Recommendation.name(), fold(r.Recommendation.Reason, 110))
	for _, v := range r.Variants {
		if v.Setting == r.Recommendation.Setting {
			fmt.Fprintf(&b, "A request of the recommended one takes %.0f ms: %s.\n", v.Request.TotalMS, v.Request.describe())
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// describe tells where the time went, in ms.
func (q *Request) describe() string {
	var parts []string
	for _, part := range q.parts() {
		parts = append(parts, fmt.Sprintf("%s %.1f", part.name, part.ms))
	}
	return strings.Join(parts, ", ")
}

// subject names what was measured.
func (r *Report) subject() string {
	if r.Settings.Shape != "" {
		return "the shape of " + r.Settings.Shape + ", random weights"
	}
	return r.Settings.Model
}

// readSpeed is the median of all reads, in GB/s.
func (r *Report) readSpeed() float64 {
	var reads []float64
	for _, row := range r.Rows {
		reads = append(reads, row.ReadGBps)
	}
	if len(reads) == 0 {
		return 0
	}
	return median(reads)
}

// cells is the table of variants, headings first. Terminal and HTML show the same.
func (r *Report) cells() [][]string {
	head := []string{"weights", "cache", "threads", "guidance", "takes", "load s", "prefill col/s"}
	if len(r.Variants) > 0 {
		for _, step := range r.Variants[0].Steps {
			head = append(head, fmt.Sprintf("ms @%d", step.Context))
		}
	}
	head = append(head, "read MB", "share", "× real time", "memory MB")
	judged := r.judged()
	if judged {
		head = append(head, "top-1", "KL", "log-mel dB")
	}
	lines := [][]string{head}
	for i := range r.Variants {
		lines = append(lines, r.Variants[i].cells(judged))
	}
	return lines
}

// judged says whether quality was measured at all.
func (r *Report) judged() bool { return len(r.Variants) > 0 && r.Variants[0].Quality != nil }

// timed is a step's time. Of less than a millisecond, where kernels are compared, a hundredth is too coarse.
func timed(ms float64) string {
	if ms < 1 {
		return fmt.Sprintf("%.3f", ms)
	}
	return fmt.Sprintf("%.2f", ms)
}

func (v *Variant) cells(judged bool) []string {
	line := []string{v.Quantization, v.KVCache, fmt.Sprint(v.Threads), fmt.Sprint(v.Guidance), fmt.Sprint(v.Variations),
		fmt.Sprintf("%.2f", v.LoadMS/1e3), fmt.Sprintf("%.0f", v.PrefillRate)}
	for _, step := range v.Steps {
		line = append(line, timed(step.MS))
	}
	first := v.Steps[0]
	line = append(line, fmt.Sprintf("%.1f", float64(first.Bytes)/1e6), fmt.Sprintf("%.0f %%", 100*first.Share),
		fmt.Sprintf("%.2f", v.Request.Realtime), fmt.Sprintf("%.0f", float64(v.PeakBytes)/1e6))
	switch {
	case !judged:
		return line
	case v.Quality == nil: // the same as with another number of threads
		return append(line, "–", "–", "–")
	}
	return append(line, fmt.Sprintf("%.1f %%", 100*v.Quality.Mean.Top1), fmt.Sprintf("%.2g", v.Quality.worstKL()), fmt.Sprintf("%.2f", v.Quality.MelDB))
}

// legend explains the columns that need it.
func (r *Report) legend() []string {
	lines := []string{
		"ms @N: a step that sees N columns, 50 to a second: the median of rounds of steps. read, share: bytes of the first of them, and how much of a plain",
		fmt.Sprintf("read's speed that is. × real time: a whole request, %g s after a prompt of %g s, the model loaded. memory: peak of the process.",
			r.Settings.Seconds, r.Settings.PromptSeconds),
	}
	if r.judged() {
		lines = append(lines,
			"top-1, KL: the distributions after guidance against float32, along its codes; mean agreement, nats of the worst codebook.",
			fmt.Sprintf("log-mel: the take's distance from float32's; the next seed's take is %.2f dB away.", r.Variants[0].Quality.SeedMelDB))
	}
	return lines
}

// fold breaks text into lines of at most width characters.
func fold(text string, width int) string {
	var b strings.Builder
	column := 0
	for _, word := range strings.Fields(text) {
		n := len([]rune(word))
		if column > 0 && column+1+n > width {
			b.WriteByte('\n')
			column = 0
		} else if column > 0 {
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += n
	}
	return b.String()
}
