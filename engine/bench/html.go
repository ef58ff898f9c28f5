package bench

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strings"
)

//go:embed report.html
var page string

// section is one plot of the page.
type section struct {
	Title, Note string
	Plot        template.HTML
}

// HTML writes the report as one page that needs nothing else; exported takes beside it can be listened to.
func (r *Report) HTML(w io.Writer) error {
	t, err := template.New("report").Parse(page)
	if err != nil {
		return err
	}
	cells := r.cells()
	sections := []section{
		{"A step along the context", "Solid: measured in a whole request. Dots: placed there. Dashed: bytes read ÷ the speed of a plain read, the floor.", r.contextPlot()},
		{"Where a request's time goes", fmt.Sprintf("%g s of new audio after a prompt of %g s, the model loaded.", r.Settings.Seconds, r.Settings.PromptSeconds), r.requestPlot()},
	}
	if r.judged() {
		sections = append(sections, section{"Speed and quality", "Left is faster, lower is nearer to float32. Dashed: the threshold of what is taken for inaudible.", r.qualityPlot()})
	}
	return t.Execute(w, map[string]any{
		"Report": r, "Subject": r.subject(), "ReadSpeed": fmt.Sprintf("%.1f", r.readSpeed()), "Legend": strings.Join(r.legend(), " "),
		"Head": cells[0], "Lines": cells[1:], "Sections": sections, "Keys": r.keys(), "Recommended": r.Recommendation.name(),
		"Takes": r.takeNames(),
	})
}

// key explains a colour.
type key struct{ Class, Name string }

func (r *Report) keys() (list []key) {
	for i, v := range r.plotted() {
		list = append(list, key{colour(i), v.short()})
	}
	return list
}

// plotted are the variants that have a colour of their own: of the guidance and variations that the recommendation compares,
// and no more than there are colours.
func (r *Report) plotted() (list []Variant) {
	for _, v := range r.Variants {
		if v.Guidance == r.Variants[0].Guidance && v.Variations == r.Variants[0].Variations && len(list) < colours {
			list = append(list, v)
		}
	}
	return list
}

// short names a variant among the others.
func (v *Variant) short() string {
	return fmt.Sprintf("%s, %s cache, %s, guidance %g, %s", v.Quantization, v.KVCache, count(v.Threads, "thread"), v.Guidance, count(v.Variations, "take"))
}

func (r *Report) takeNames() (names []string) {
	for _, t := range r.takes {
		names = append(names, t.name)
	}
	return names
}

// contextPlot: milliseconds of a step over the columns it sees.
func (r *Report) contextPlot() template.HTML {
	x, y := axis{label: "columns seen, 50 to a second"}, axis{label: "ms a step"}
	for _, v := range r.plotted() {
		for _, step := range v.Steps {
			x.high, y.high = max(x.high, float64(step.Context)*1.02), max(y.high, step.MS*1.1, step.floorMS()*1.1)
		}
		for _, at := range v.Along {
			x.high, y.high = max(x.high, float64(at.Context)*1.02), max(y.high, at.MS*1.1)
		}
	}
	p := newPlot(x, y)
	for i, v := range r.plotted() {
		p.curve("curve "+colour(i), v.Along, v.short())
		var floor []Point
		for _, step := range v.Steps {
			p.dot("dot "+colour(i), float64(step.Context), step.MS, fmt.Sprintf("%s: %.2f ms at %d columns", v.short(), step.MS, step.Context))
			floor = append(floor, Point{step.Context, step.floorMS()})
		}
		p.curve("floor "+colour(i), floor, v.short()+": floor")
	}
	return p.svg(plotHeight, "Time of a step along the context")
}

// floorMS is the time in which a plain read goes through as many bytes; 0 where that is not known.
func (r *Row) floorMS() float64 {
	if r.ReadGBps == 0 {
		return 0
	}
	return float64(r.Bytes) / (r.ReadGBps * 1e6)
}

// part is a stage of a request.
type part struct {
	name string
	ms   float64
}

// parts are a request's stages in order.
func (q *Request) parts() []part {
	return []part{{"encode", q.EncodeMS}, {"text", q.TextMS}, {"prefill", q.PrefillMS}, {"decode", q.DecodeMS}, {"codec", q.CodecMS}}
}

// requestPlot: a bar for each variant, its stages side by side, and a line where music plays as fast.
func (r *Report) requestPlot() template.HTML {
	plays := r.Settings.Seconds * 1e3
	longest := plays
	for _, v := range r.Variants {
		longest = max(longest, v.Request.TotalMS)
	}
	const top = 28.0
	p := &plot{x: axis{high: longest * 1.02}, w: plotWidth - labelRoom - marginRight, left: labelRoom}
	for i := range r.Variants {
		v := &r.Variants[i]
		y := top + float64(i)*(barHeight+barGap)
		p.text("tick", "end", p.left-8, y+14, v.tiny())
		from := 0.0
		for k, part := range v.Request.parts() {
			p.bar(colour(k), p.px(from), y, p.px(from+part.ms)-p.px(from), barHeight, fmt.Sprintf("%s: %s %.1f ms", v.short(), part.name, part.ms))
			from += part.ms
		}
	}
	bottom := top + float64(len(r.Variants))*(barHeight+barGap)
	p.line("threshold", p.px(plays), 18, p.px(plays), bottom)
	p.text("tick", "end", p.px(plays)-4, 14, "as fast as one take plays")
	for _, ms := range p.x.ticks() {
		p.text("tick", "middle", p.px(ms), bottom+14, fmt.Sprintf("%.4g", ms/1e3))
	}
	p.text("label", "middle", p.left+p.w/2, bottom+34, "seconds")
	for k, part := range (&Request{}).parts() {
		x := p.left + float64(k)*90
		p.bar(colour(k), x, bottom+46, 12, 12, part.name)
		p.text("tick", "start", x+18, bottom+56, part.name)
	}
	return p.svg(bottom+66, "Where a request's time goes")
}

// tiny names a variant where there is little room.
func (v *Variant) tiny() string {
	return fmt.Sprintf("%s, cache %s, %d thr, g %g, × %d", v.Quantization, v.KVCache, v.Threads, v.Guidance, v.Variations)
}

// qualityPlot: divergence over time, of the thread count that quality was measured with.
func (r *Report) qualityPlot() template.HTML {
	const least = 1e-7 // what is nearer is drawn here: a logarithm has no zero
	x, y := axis{label: "ms a step"}, axis{low: least, high: 1, log: true, label: "KL of the worst codebook, nats"}
	for _, v := range r.plotted() {
		if v.Quality != nil {
			x.high, y.high = max(x.high, v.Steps[0].MS*1.1), max(y.high, v.Quality.worstKL()*2)
		}
	}
	p := newPlot(x, y)
	p.line("threshold", p.left, p.py(maxKL), p.left+p.w, p.py(maxKL))
	for i, v := range r.plotted() {
		if v.Quality != nil {
			p.dot("dot "+colour(i), v.Steps[0].MS, max(v.Quality.worstKL(), least), v.short()+": "+v.Quality.describe())
		}
	}
	return p.svg(plotHeight, "Speed and quality")
}
