package main

import (
	"bytes"
	"image"
	"image/png"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// aPicture is a PNG of so many pixels a side.
func aPicture(t *testing.T, side int) []byte {
	t.Helper()
	var drawn bytes.Buffer
	if err := png.Encode(&drawn, image.NewGray(image.Rect(0, 0, side, side))); err != nil {
		t.Fatal(err)
	}
	return drawn.Bytes()
}

func TestEachPictureOfAFolderHasItsTurnBeforeOneComesAgain(t *testing.T) {
	folder := t.TempDir()
	for _, name := range []string{"a.png", "b.png", "c.png", ".hidden"} {
		if err := os.WriteFile(filepath.Join(folder, name), aPicture(t, 2), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(folder, "lost+found"), 0o700); err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]int)
	for day := range 6 {
		cat, err := source{folder: folder}.picture(t.Context(), time.Date(2026, 11, 29+day, 23, 30, 0, 0, time.UTC))
		if err != nil {
			t.Fatal(err)
		}
		seen[cat.name]++
	}
	if len(seen) != 3 || seen["a.png"] != 2 || seen["b.png"] != 2 || seen["c.png"] != 2 {
		t.Errorf("in six days: %v", seen)
	}
}

func TestWhatIsNoPictureIsRefusedByItsContentWhateverItsName(t *testing.T) {
	folder := t.TempDir()
	for name, content := range map[string][]byte{
		"empty.jpg": {}, "page.jpg": []byte("<html>"), "large.png": append(aPicture(t, 2), make([]byte, largestPicture)...),
	} {
		file := filepath.Join(folder, name)
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := source{folder: folder}.picture(t.Context(), time.Now())
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := (source{folder: folder}).picture(t.Context(), time.Now()); err == nil {
		t.Error("an empty folder has a picture")
	}
	if _, err := (source{folder: "/none"}).picture(t.Context(), time.Now()); err == nil || !strings.Contains(err.Error(), "/none has no pictures") {
		t.Errorf("a folder that is not there: %v", err)
	}
}

// aSite serves a picture and feeds, and what is neither.
func aSite(t *testing.T) *httptest.Server {
	t.Helper()
	rss := `<?xml version="1.0" encoding="ISO-8859-1"?><rss><channel><title>Caf` + "\xe9" + ` & cats</title>
		<item><enclosure url="/sound.mp3" type="audio/mpeg"/></item>
		<item><enclosure url="/newest.png?size=1" type="image/png"/></item>
		<item><enclosure url="/older.png" type="image/png"/></item></channel></rss>`
	served := map[string]struct{ kind, content string }{
		"/newest.png": {"image/png", string(aPicture(t, 3))},
		"/rss":        {"application/rss+xml; charset=iso-8859-1", rss},
		"/atom": {"application/atom+xml", `<feed xmlns="http://www.w3.org/2005/Atom"><link rel="self" type="image/png" href="/no"/>
			<entry><link rel="enclosure" type="image/png" href="newest.png"/></entry></feed>`},
		"/media": {"text/xml", `<rss xmlns:media="http://search.yahoo.com/mrss/"><channel><item>
			<media:content medium="image" url="/newest.png"/></item></channel></rss>`},
		"/without": {"text/xml", `<rss><channel/></rss>`},
		"/page":    {"text/html", string(aPicture(t, 3))},
		"/liar":    {"image/png", "<html>no cat</html>"},
		"/large":   {"image/png", string(aPicture(t, 3)) + strings.Repeat("x", largestPicture)},
	}
	server := httptest.NewServer(http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
		found, ok := served[request.URL.Path]
		if !ok {
			http.NotFound(answer, request)
			return
		}
		answer.Header().Set("Content-Type", found.kind)
		_, _ = answer.Write([]byte(found.content))
	}))
	t.Cleanup(server.Close)
	return server
}

func TestAFeedIsAPictureOrNamesOneInAnyOfThreeWays(t *testing.T) {
	site := aSite(t)
	for _, path := range []string{"/newest.png", "/rss", "/atom", "/media"} {
		cat, err := source{feed: site.URL + path}.picture(t.Context(), time.Now())
		if err != nil {
			t.Errorf("%s: %v", path, err)
		} else if cat.name != "newest.png" || cat.kind != "image/png" || !bytes.Equal(cat.content, aPicture(t, 3)) {
			t.Errorf("%s: %s, %s, %d bytes", path, cat.name, cat.kind, len(cat.content))
		}
	}
}

func TestWhatAFeedMustNotBeIsAnErrorThatKeepsItsTokenToItself(t *testing.T) {
	site := aSite(t)
	away := httptest.NewServer(nil)
	away.Close()
	for _, address := range []string{
		site.URL + "/without", site.URL + "/page", site.URL + "/liar", site.URL + "/large", site.URL + "/none",
		away.URL, "ftp://example.org/cat", "http://[::1",
	} {
		_, err := source{feed: address + "?token=hidden"}.picture(t.Context(), time.Now())
		if err == nil {
			t.Errorf("%s has a picture", address)
		} else if strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: %v", address, err)
		}
	}
}
