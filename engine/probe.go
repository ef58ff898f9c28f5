package engine

import (
	"context"
	"fmt"

	"segue/engine/audio"
)

// What bounds how much of a file a probe listens to: its end, which is what a continuation would hear. All channels
// together have at most probedSamples, which take some seconds to decode.
const (
	probedSeconds = 120
	probedSamples = 1 << 27
)

// Probe tells what an audio file is, without the device.
func (e *Engine) Probe(ctx context.Context, path string) (AudioInfo, error) {
	resolved, err := audio.ResolvePath(path, e.options.WorkDir, e.options.Home)
	if err != nil {
		return AudioInfo{}, Errorf(BadParam, "path", "path: %w", err)
	}
	reader, err := audio.Open(resolved)
	if err != nil {
		return AudioInfo{}, audioError("path", resolved, err)
	}
	defer reader.Close()
	f := reader.Info()
	info := AudioInfo{
		Path: resolved, Format: f.Format, Encoding: f.Encoding, SampleRate: f.Rate, Channels: f.Channels,
		Frames: f.Frames, Seconds: float64(f.Frames) / float64(f.Rate), Warnings: f.Warnings,
	}
	n := min(f.Frames, int64(probedSeconds*f.Rate), int64(probedSamples/f.Channels))
	if n < f.Frames {
		info.Warnings = append(info.Warnings, fmt.Sprintf("peak, loudness and tempo are those of the last %.4g s", float64(n)/float64(f.Rate)))
	}
	if err := listen(ctx, reader, n, &info); err != nil {
		if ctx.Err() != nil {
			return AudioInfo{}, context.Cause(ctx)
		}
		return AudioInfo{}, audioError("path", resolved, err)
	}
	return info, nil
}

// listen measures the last n frames. Of many channels it holds their mean alone.
func listen(ctx context.Context, reader *audio.Reader, n int64, info *AudioInfo) error {
	meter := audio.NewMeter(info.SampleRate, info.Channels)
	var mono []float32
	err := reader.Blocks(info.Frames-n, n, func(block []float32) error {
		planar := audio.Deinterleave(block, info.Channels)
		meter.Add(planar)
		mono = append(mono, audio.Mix(planar, 1)[0]...)
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	info.PeakDB, info.Loudness = measured(meter.PeakDB()), measured(meter.Loudness())
	info.Tempo = measured(audio.Tempo(mono, info.SampleRate))
	return nil
}
