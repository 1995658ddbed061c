package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"elstore/api/rest"
	"elstore/volume"
	"elstore/volume/fault"
)

// tracing sends spans of requests and jobs to a collector, over OTLP.
type tracing struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
	from     propagation.TraceContext // W3C Trace Context, of callers who trace too
}

// newTracing returns nil where no collector is named. The variables are OpenTelemetry's own: the exporter reads the
// others, such as OTEL_EXPORTER_OTLP_HEADERS, by itself.
func newTracing(ctx context.Context, getenv func(string) (string, bool), log *slog.Logger) (*tracing, error) {
	named := false
	for _, name := range []string{"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"} {
		if value, ok := getenv(name); ok && value != "" {
			named = true
		}
	}
	if off, _ := getenv("OTEL_SDK_DISABLED"); !named || off == "true" {
		return nil, nil //nolint:nilnil // there is nothing to trace with, and nothing is wrong
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("traces not sent", slog.Any("error", err)) }))
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, err
	}
	about, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", "elstore"), attribute.String("service.version", version)),
		resource.WithHost(), resource.WithFromEnv())
	if err != nil {
		return nil, errors.Join(err, exporter.Shutdown(ctx))
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about))
	return &tracing{provider: provider, tracer: provider.Tracer("elstore")}, nil
}

// lastTraces is how long the end of the server waits for a collector.
const lastTraces = 3 * time.Second

// close sends what was gathered. That it can't is told as every other failure to send.
func (t *tracing) close(ctx context.Context) {
	if t == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, lastTraces)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil {
		otel.Handle(err)
	}
}

var _ rest.Observer = (*tracing)(nil).request

// request traces a request: a part of its caller's trace, where the caller says which that is.
func (t *tracing) request(r *http.Request) (context.Context, func(rest.Outcome)) {
	ctx := t.from.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
	ctx, span := t.tracer.Start(ctx, "request", trace.WithSpanKind(trace.SpanKindServer)) //nolint:spancheck // it ends with the request
	return ctx, func(o rest.Outcome) {
		if o.Route != "" {
			span.SetName(o.Method + " " + o.Route)
		}
		span.SetAttributes(
			attribute.String("http.request.method", o.Method), attribute.String("http.route", o.Route),
			attribute.Int("http.response.status_code", o.Status), attribute.String("elstore.request_id", o.RequestID),
		)
		if o.Code != "" {
			span.SetAttributes(attribute.String("error.type", o.Code))
		}
		if o.Status >= http.StatusInternalServerError || o.BrokenOff {
			span.SetStatus(codes.Error, o.Code)
		}
		span.End()
	}
}

// job traces a job as a part of the request that asked for it.
func (t *tracing) job(ctx context.Context, j volume.Job) (context.Context, func(volume.Job, error)) {
	ids := make([]string, len(j.Volumes))
	for i, id := range j.Volumes {
		ids[i] = id.String()
	}
	ctx, span := t.tracer.Start(ctx, "job "+j.Kind, trace.WithAttributes( //nolint:spancheck // it ends with the job
		attribute.String("elstore.job.id", j.ID), attribute.StringSlice("elstore.volumes", ids)))
	return ctx, func(ended volume.Job, err error) {
		span.SetAttributes(attribute.String("elstore.job.state", string(ended.State)))
		if err != nil {
			code := string(fault.CodeOf(err))
			span.SetAttributes(attribute.String("error.type", code))
			span.SetStatus(codes.Error, code)
		}
		span.End()
	}
}
