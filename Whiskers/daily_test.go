package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

func at(t *testing.T, text string) time.Time {
	t.Helper()
	moment, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return moment
}

func TestTheNextMailIsDueAtTheTimeOfTheDayThatWasChosenThere(t *testing.T) {
	for _, c := range []struct{ why, at, zone, now, last, want string }{
		{"before it", "08:00", "UTC", "2026-11-29T07:59:59Z", "2026-11-28", "2026-11-29T08:00:00Z"},
		{"missed, so at once", "08:00", "UTC", "2026-11-29T11:00:00Z", "2026-11-28", "2026-11-29T08:00:00Z"},
		{"never sent one", "08:00", "UTC", "2026-11-29T11:00:00Z", "", "2026-11-29T08:00:00Z"},
		{"sent already", "08:00", "UTC", "2026-11-29T11:00:00Z", "2026-11-29", "2026-11-30T08:00:00Z"},
		{"another day there", "08:00", "Asia/Tokyo", "2026-11-29T20:00:00Z", "2026-11-29", "2026-11-29T23:00:00Z"},
		{"summer time", "08:00", "Europe/Berlin", "2026-07-01T00:00:00Z", "", "2026-07-01T06:00:00Z"},
		{"winter time", "08:00", "Europe/Berlin", "2026-12-01T00:00:00Z", "", "2026-12-01T07:00:00Z"},
		{"no such time that day", "02:30", "Europe/Berlin", "2026-03-29T00:00:00Z", "2026-03-28", "2026-03-29T01:30:00Z"},
		{"end of a year", "08:00", "UTC", "2026-12-31T09:00:00Z", "2026-12-31", "2027-01-01T08:00:00Z"},
		{"a clock that is wrong yet", "08:00", "UTC", "2026-11-20T09:00:00Z", "2026-11-29", "2026-11-21T08:00:00Z"},
	} {
		when, err := newSchedule(c.at, c.zone)
		if err != nil {
			t.Fatal(err)
		}
		if got := when.next(at(t, c.now), c.last).UTC().Format(time.RFC3339); got != c.want {
			t.Errorf("%s: %s at %s in %s, last %q: %s instead of %s", c.why, c.now, c.at, c.zone, c.last, got, c.want)
		}
	}
}

func TestATimeOrAZoneThatThereIsNotIsAnErrorThatNamesIt(t *testing.T) {
	for _, c := range [][2]string{{"8", "UTC"}, {"25:00", "UTC"}, {"08:00", "Europe/Catville"}} {
		if _, err := newSchedule(c[0], c[1]); err == nil {
			t.Errorf("%q is taken", c)
		}
	}
}

// aDaily mails from within a synctest bubble, whose clock begins at midnight UTC of 2000-01-01.
func aDaily(t *testing.T, file string, send func() error) *daily {
	t.Helper()
	when, err := newSchedule("08:00", "UTC")
	if err != nil {
		t.Fatal(err)
	}
	remembered, err := openState(file)
	if err != nil {
		t.Fatal(err)
	}
	return &daily{
		when: when, state: remembered, metrics: newMetrics("pi1"), log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		picture: func(context.Context, time.Time) (picture, error) { return picture{name: "tom.jpg"}, nil },
		send:    func(context.Context, picture, time.Time) error { return send() },
	}
}

func TestOneMailADayAlsoWhenTheProgramIsStartedAnewSeveralTimesADay(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state.json")
	synctest.Test(t, func(t *testing.T) {
		var sent []string
		for range 12 { // every six hours
			ctx, cancel := context.WithTimeout(t.Context(), 6*time.Hour)
			aDaily(t, file, func() error {
				sent = append(sent, time.Now().UTC().Format(time.RFC3339))
				return nil
			}).run(ctx)
			cancel()
		}
		want := []string{"2000-01-01T08:00:00Z", "2000-01-02T08:00:00Z", "2000-01-03T08:00:00Z"}
		if !slices.Equal(sent, want) {
			t.Errorf("sent at %v instead of %v", sent, want)
		}
	})
}

func TestAMailThatFailsIsTriedAgainLessAndLessOftenAndIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tried []string
		ctx, cancel := context.WithTimeout(t.Context(), 12*time.Hour)
		defer cancel()
		d := aDaily(t, filepath.Join(t.TempDir(), "state.json"), func() error {
			tried = append(tried, time.Now().UTC().Format("15:04"))
			if len(tried) < 9 {
				return errors.New("the mail server is away")
			}
			return nil
		})
		d.run(ctx)
		want := []string{"08:00", "08:01", "08:03", "08:07", "08:15", "08:31", "09:03", "10:03", "11:03"}
		if !slices.Equal(tried, want) {
			t.Errorf("tried at %v instead of %v", tried, want)
		}
		if failed, sent := testutil.ToFloat64(d.metrics.failed), testutil.ToFloat64(d.metrics.sent); failed != 8 || sent != 1 {
			t.Errorf("counted %v failed and %v sent", failed, sent)
		}
		if next := time.Unix(int64(testutil.ToFloat64(d.metrics.next)), 0); !next.Equal(at(t, "2000-01-02T08:00:00Z")) {
			t.Errorf("the next is due at %v", next)
		}
	})
}

func TestAStateThatIsDamagedOrCannotBeWrittenIsFoundAtStart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state.json")
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openState(file); err == nil {
		t.Error("a damaged state is taken")
	}
	if _, err := openState(filepath.Join(t.TempDir(), "away", "state.json")); err == nil {
		t.Error("a state in a folder that is not there is taken")
	}
}
