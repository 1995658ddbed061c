package main

import (
	"context"
	"log/slog"
	"os"
	"time"

	"elstore/api/metrics"
	"elstore/api/rest"
	"elstore/volume"
	"elstore/volume/fault"
)

// observation is how a server is watched: numbers for Prometheus, and traces where somebody collects them.
type observation struct {
	metrics *metrics.Metrics
	traces  *tracing // nil where nobody does
}

// observe begins to watch the parts of the server, which are all made. stopping ends when the server begins to stop.
func (s *server) observe(ctx context.Context, stopping <-chan struct{}) (err error) {
	if s.watch.traces, err = newTracing(ctx, os.LookupEnv, s.log); err != nil {
		return err
	}
	s.watch.metrics, err = metrics.New(metrics.Config{
		Pools: s.pools, Volumes: s.volumes, Jobs: s.jobs, Exports: s.exports, Migrations: s.migrations, Daemons: s.opener.Daemons,
		Version: version, Stopping: stopping,
	})
	return err
}

// requests are told of every request.
func (o *observation) requests() []rest.Observer {
	observers := []rest.Observer{o.metrics.Observe}
	if o.traces != nil {
		observers = append(observers, o.traces.request)
	}
	return observers
}

// observeJob is told of every job. There are none before the server is observed.
func (s *server) observeJob(ctx context.Context, j volume.Job) (context.Context, func(volume.Job, error)) {
	began := time.Now()
	ctx, counted := s.watch.metrics.ObserveJob(ctx, j)
	traced := func(volume.Job, error) {}
	if s.watch.traces != nil {
		ctx, traced = s.watch.traces.job(ctx, j)
	}
	return ctx, func(ended volume.Job, err error) {
		counted(ended, err)
		traced(ended, err)
		level := slog.LevelDebug
		attrs := []slog.Attr{
			slog.String("job", j.ID), slog.String("kind", j.Kind), slog.String("state", string(ended.State)),
			slog.Int64("duration_ms", time.Since(began).Milliseconds()), slog.String("request_id", rest.RequestID(ctx)),
		}
		if err != nil {
			attrs = append(attrs, slog.String("code", string(fault.CodeOf(err))), slog.Any("error", err))
			if fault.KindOf(err) == fault.Internal { // nobody else may be told why
				level = slog.LevelWarn
			}
		}
		s.log.LogAttrs(ctx, level, "job ended", attrs...)
	}
}
