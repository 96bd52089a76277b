package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"sync/atomic"
	"time"
)

const (
	// A look at the clock this often, and no timer until tomorrow: a Pi without a clock of its own may be set right
	// at any moment.
	lookEvery = 30 * time.Second
	// After a mail that failed, twice as long each time.
	firstRetry, lastRetry = time.Minute, time.Hour
	// What fetching and sending one mail may take.
	longest = 2 * time.Minute
)

// schedule is a time of the day, somewhere.
type schedule struct {
	hour, minute int
	zone         *time.Location
}

func newSchedule(at, zone string) (schedule, error) {
	clock, err := time.Parse("15:04", at)
	if err != nil {
		return schedule{}, fmt.Errorf("-at %q is no time of the day; HH:MM, e.g. 08:00", at)
	}
	location, err := time.LoadLocation(zone)
	if err != nil {
		return schedule{}, fmt.Errorf("-time-zone %q is none; e.g. Europe/Berlin or UTC", zone)
	}
	return schedule{clock.Hour(), clock.Minute(), location}, nil
}

// day is the date there, as it is remembered.
func (s schedule) day(now time.Time) string { return now.In(s.zone).Format(time.DateOnly) }

// next is when the next mail is due, which is in the past if today's was missed. A day without that time, when
// clocks are set forward, has it an hour later.
func (s schedule) next(now time.Time, lastDay string) time.Time {
	there := now.In(s.zone)
	today := time.Date(there.Year(), there.Month(), there.Day(), s.hour, s.minute, 0, 0, s.zone)
	// Dates in this form sort as text. A last day in the future means a clock that is not set right yet: wait.
	if lastDay < s.day(now) {
		return today
	}
	return time.Date(there.Year(), there.Month(), there.Day()+1, s.hour, s.minute, 0, 0, s.zone)
}

// state remembers the last mail over restarts, so that no day has two.
type state struct {
	file string
	Day  string    `json:"day"`
	Sent time.Time `json:"sent"`
}

// openState reads the file, and writes it: a folder that cannot be written is better known before a mail than after.
func openState(file string) (*state, error) {
	found := &state{file: file}
	content, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	default:
		if err := json.Unmarshal(content, found); err != nil {
			return nil, fmt.Errorf("%s is damaged: %w; remove it, and a mail is sent at once", file, err)
		}
	}
	return found, found.save()
}

func (s *state) save() error {
	content, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if err := writeFile(s.file, content); err != nil {
		return fmt.Errorf("remembering the last mail (-state): %w", err)
	}
	return nil
}

// daily sends one mail a day.
type daily struct {
	when    schedule
	state   *state
	metrics *metrics
	log     *slog.Logger
	picture func(context.Context, time.Time) (picture, error)
	send    func(context.Context, picture, time.Time) error
	looked  atomic.Pointer[time.Time] // when it last looked at the clock
}

// run looks at the clock until the context ends.
func (d *daily) run(ctx context.Context) {
	if !d.state.Sent.IsZero() {
		d.metrics.lastSuccess.Set(float64(d.state.Sent.Unix()))
	}
	var notBefore time.Time
	pause := firstRetry
	for ctx.Err() == nil {
		now := time.Now()
		d.looked.Store(&now)
		next := d.when.next(now, d.state.Day)
		if next.Before(notBefore) {
			next = notBefore
		}
		d.metrics.next.Set(float64(next.Unix()))
		if !now.Before(next) {
			if err := d.mail(ctx, now); err != nil {
				d.metrics.failed.Inc()
				d.log.Error("no mail", "error", err, "again_in", pause)
				notBefore, pause = now.Add(pause), min(2*pause, lastRetry)
			} else {
				notBefore, pause = time.Time{}, firstRetry
			}
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(min(lookEvery, next.Sub(now))):
		}
	}
}

// mail sends today's. A picture that is being fetched is given up when the context ends, a mail is not: nobody
// would know whether it had arrived.
func (d *daily) mail(ctx context.Context, now time.Time) error {
	fetching, cancel := context.WithTimeout(ctx, longest/2)
	defer cancel()
	cat, err := d.picture(fetching, now.In(d.when.zone))
	if err != nil {
		return err
	}
	sending, cancel := context.WithTimeout(context.WithoutCancel(ctx), longest/2)
	defer cancel()
	if err := d.send(sending, cat, now.In(d.when.zone)); err != nil {
		return err
	}
	d.metrics.sent.Inc()
	d.metrics.lastSuccess.Set(float64(now.Unix()))
	d.log.Info("mailed", "picture", cat.name, "bytes", len(cat.content))
	d.state.Day, d.state.Sent = d.when.day(now), now
	if err := d.state.save(); err != nil {
		d.log.Error("a restart today may send a second mail", "error", err)
	}
	return nil
}

// healthz says whether mails are still being thought of. A clock that is set right, by hours, is no time that passed:
// what time.Now tells goes by the seconds since the boot, too, and what is made of a date does not.
func (d *daily) healthz(answer http.ResponseWriter, _ *http.Request) {
	looked := d.looked.Load()
	if looked == nil {
		http.Error(answer, "no look at the clock yet", http.StatusServiceUnavailable)
		return
	}
	if since := time.Since(*looked); since > longest+2*lookEvery {
		http.Error(answer, fmt.Sprintf("no look at the clock for %s", since.Round(time.Second)), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(answer, "ok")
}
