// SPDX-License-Identifier: Apache-2.0

package state

import (
	"context"
	"log/slog"
	"sync/atomic"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// zapTo gives a zap logger that hands warnings and errors on to log until it is
// muted: embedded etcd speaks zap, and much.
func zapTo(log *slog.Logger, muted *atomic.Bool) *zap.Logger {
	return zap.New(slogCore{handler: log.Handler(), muted: muted})
}

// slogCore is a zapcore.Core over a slog.Handler.
type slogCore struct {
	handler slog.Handler
	muted   *atomic.Bool
}

func (c slogCore) Enabled(level zapcore.Level) bool {
	return level >= zapcore.WarnLevel && !c.muted.Load() && c.handler.Enabled(context.Background(), slogLevel(level))
}

func (c slogCore) With(fields []zapcore.Field) zapcore.Core {
	return slogCore{handler: c.handler.WithAttrs(attrs(fields)), muted: c.muted}
}

// accepted are warnings at each start about what we chose: one port, and no
// passwords to make tokens for.
var accepted = map[string]bool{
	"Running http and grpc server on single port. This is not recommended for production.": true,
	"simple token is not cryptographically signed":                                         true,
}

func (c slogCore) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(entry.Level) && !accepted[entry.Message] {
		return checked.AddCore(entry, c)
	}
	return checked
}

func (c slogCore) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	record := slog.NewRecord(entry.Time, slogLevel(entry.Level), entry.Message, 0)
	record.AddAttrs(attrs(fields)...)
	return c.handler.Handle(context.Background(), record)
}

func (c slogCore) Sync() error { return nil }

func slogLevel(level zapcore.Level) slog.Level {
	switch {
	case level >= zapcore.ErrorLevel:
		return slog.LevelError
	case level >= zapcore.WarnLevel:
		return slog.LevelWarn
	case level >= zapcore.InfoLevel:
		return slog.LevelInfo
	}
	return slog.LevelDebug
}

func attrs(fields []zapcore.Field) []slog.Attr {
	object := zapcore.NewMapObjectEncoder()
	for _, field := range fields {
		field.AddTo(object)
	}
	list := make([]slog.Attr, 0, len(object.Fields))
	for _, field := range fields {
		if value, ok := object.Fields[field.Key]; ok {
			list = append(list, slog.Any(field.Key, value))
		}
	}
	return list
}
