// SPDX-License-Identifier: Apache-2.0

package state

import (
	"context"
	"log/slog"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// zapTo gives a zap logger that hands warnings and errors on to log: embedded
// etcd speaks zap, and much.
func zapTo(log *slog.Logger) *zap.Logger {
	return zap.New(slogCore{handler: log.Handler()})
}

// slogCore is a zapcore.Core over a slog.Handler.
type slogCore struct{ handler slog.Handler }

func (c slogCore) Enabled(level zapcore.Level) bool {
	return level >= zapcore.WarnLevel && c.handler.Enabled(context.Background(), slogLevel(level))
}

func (c slogCore) With(fields []zapcore.Field) zapcore.Core {
	return slogCore{handler: c.handler.WithAttrs(attrs(fields))}
}

func (c slogCore) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(entry.Level) {
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
