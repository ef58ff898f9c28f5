package rpc

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"segue/engine"
)

// The rules hold for whatever an engine reports.
func TestProgressRules(t *testing.T) {
	for seed := range uint64(50) {
		synctest.Test(t, func(t *testing.T) {
			var values []ProgressValue
			var times []time.Time
			r := newReporter(func(v ProgressValue) {
				values, times = append(values, v), append(times, time.Now())
			})
			babble(r, rand.New(rand.NewPCG(seed, 0)))
			checkRules(t, values, times)
		})
	}
}

// babble reports at random: falling fractions, no numbers, changing stages, bursts and silence.
func babble(r *reporter, random *rand.Rand) {
	stages := []engine.Stage{engine.StageLoad, engine.StageEncode, engine.StagePrefill, engine.StageDecode, engine.StageWrite}
	odd := []float64{math.NaN(), math.Inf(1), math.Inf(-1), -1, 2}
	r.begin()
	stage := 0
	for i := range 500 {
		if random.IntN(30) == 0 {
			stage = random.IntN(len(stages))
		}
		p := engine.Progress{Stage: stages[stage], Fraction: float64(i)/500 + random.Float64()/10, ETASeconds: odd[random.IntN(5)]}
		if random.IntN(20) == 0 {
			p.Fraction = odd[random.IntN(5)]
		}
		r.report(p)
		time.Sleep(time.Duration(random.IntN(80)) * time.Millisecond)
	}
	var err error
	if random.IntN(2) == 0 {
		err = errors.New("no luck")
	}
	r.end(err)
	r.end(nil)
	r.report(engine.Progress{Stage: engine.StageWrite, Fraction: 1})
}

func checkRules(t *testing.T, values []ProgressValue, times []time.Time) {
	last := -1
	for i, v := range values {
		want := progressReport
		switch i {
		case 0:
			want = progressBegin
		case len(values) - 1:
			want = progressEnd
		}
		if v.Kind != want {
			t.Errorf("%d of %d: got %s, want %s", i, len(values), v.Kind, want)
		}
		if v.Percentage != nil {
			if *v.Percentage <= last || *v.Percentage > 100 {
				t.Errorf("%d: got %d %% after %d %%", i, *v.Percentage, last)
			}
			last = *v.Percentage
		}
		if i >= 10 && times[i].Sub(times[i-10]) < time.Second {
			t.Errorf("%d: eleven notifications within %v", i, times[i].Sub(times[i-10]))
		}
		if math.IsNaN(v.ETASeconds) || math.IsInf(v.ETASeconds, 0) {
			t.Errorf("%d: etaSeconds %v", i, v.ETASeconds)
		}
	}
	if len(values) < 10 {
		t.Errorf("got %d notifications of 20 s", len(values))
	}
}

func TestNewStageIsToldAtOnce(t *testing.T) {
	var got []string
	r := newReporter(func(v ProgressValue) {
		text := string(v.Kind) + " " + string(v.Stage)
		if v.Percentage == nil {
			text += " -"
		}
		got = append(got, text)
	})
	r.begin()
	for _, stage := range []engine.Stage{engine.StageLoad, engine.StageLoad, engine.StageEncode, engine.StagePrefill} {
		r.report(engine.Progress{Stage: stage})
	}
	r.end(nil)
	if all := strings.Join(got, ", "); all != "begin queued, report load -, report encode -, report prefill -, end " {
		t.Errorf("got %s", all)
	}
}

func TestReportsAreReplacedInPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &host{t: t}
		gate := make(chan struct{})
		o := newOutbox(gated{h, gate})
		push := func(token Token, report bool, text string) { o.push(message{token, report, []byte(text)}) }
		push("", false, "first") // under way
		synctest.Wait()
		push("a", false, "begin")
		push("a", true, "a1")
		push("b", true, "b1")
		push("a", true, "a2")
		push("", false, "answer")
		push("a", true, "a3")
		push("c", true, "c1")
		push("a", false, "end")
		push("a", true, "again") // another request with the token
		close(gate)
		if got := strings.Join(h.heard(), " "); got != "first begin a3 b1 answer c1 end again" {
			t.Errorf("got %s", got)
		}
		o.close()
	})
}

type gated struct {
	to   *host
	gate chan struct{}
}

func (g gated) Write(p []byte) (int, error) {
	<-g.gate
	return g.to.Write(p)
}

func TestProgressComesBeforeTheAnswer(t *testing.T) {
	e := &fakeEngine{run: func(_ context.Context, _ engine.Job, report func(engine.Progress)) (engine.Result, error) {
		report(engine.Progress{Stage: engine.StageDecode, Fraction: 0.5})
		time.AfterFunc(time.Second, func() { report(engine.Progress{Stage: engine.StageWrite, Fraction: 1}) }) // too late
		return engine.Result{}, nil
	}}
	bubble(t, e, Options{}, func(t *testing.T, h *host) {
		h.send(request(`"j"`, "generate", `{"progress":true}`))
		check(t, h.heard(), `"j" begin; "j" report; "j" end; "j" ok`)
		time.Sleep(2 * time.Second)
		check(t, h.heard(), "")
	})
}
