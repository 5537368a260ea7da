package driver

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// mask stands in a text where a secret value was.
const mask = "***"

// Bounds on what is taken for a secret: to mask every 1 or every "true" would make a log unreadable and tell the value
// all the same, by where it is missing.
const (
	minSecret = 4
	// minNumber is for values that are digits alone: a port is no secret.
	minNumber = 6
	// minLine is for the single lines of a value of several, and for parts of encoded values.
	minLine = 8
)

// trivial are values that are settings and no secrets.
var trivial = []string{"true", "false", "null", "none", "default", "enabled", "disabled"}

// masker knows the secret values of a Run and takes them out of texts, in every form that a text may have them in. It
// may be told of new ones at any time and from any goroutine. Its zero value knows none.
type masker struct {
	mu       sync.Mutex
	known    map[string]bool // values
	forms    map[string]bool
	words    map[string]bool // values that are masked where they stand by themselves
	replacer atomic.Pointer[strings.Replacer]
	pattern  atomic.Pointer[regexp.Regexp] // of the words
}

// keepSecret has values masked from now on, in all that the driver writes.
func (r *run) keepSecret(values ...string) { r.log.secrets.add(values...) }

// add makes values known that are secret whatever they look like.
func (m *masker) add(values ...string) {
	m.update(func() {
		for _, v := range values {
			if !m.known[v] {
				m.known[v] = true
				m.addForms(v)
			}
		}
	})
}

// learn makes values known that are secret as far as their names say so: a short word is a secret only under the name
// of one, and where it stands by itself. The user "admin" or the branch "main" would make a log unreadable.
func (m *masker) learn(leaves ...leaf) {
	m.update(func() {
		for _, l := range leaves {
			m.addLeaf(l)
		}
	})
}

// update has what was made known count.
func (m *masker) update(change func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.known == nil {
		m.known, m.forms, m.words = map[string]bool{}, map[string]bool{}, map[string]bool{}
	}
	forms, words := len(m.forms), len(m.words)
	change()
	if len(m.words) != words {
		m.pattern.Store(wordPattern(m.words))
	}
	if len(m.forms) == forms {
		return
	}
	// Of the forms that begin at one place the longest is to win, and a replacer takes the first that it was given.
	pairs := make([]string, 0, 2*len(m.forms))
	longestFirst := func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) }
	for _, form := range slices.SortedFunc(maps.Keys(m.forms), longestFirst) {
		pairs = append(pairs, form, mask)
	}
	m.replacer.Store(strings.NewReplacer(pairs...))
}

// apply masks a text. One that has no secret in it comes back as it is, and without being copied.
func (m *masker) apply(text string) string {
	if r := m.replacer.Load(); r != nil {
		text = r.Replace(text)
	}
	if p := m.pattern.Load(); p != nil {
		text = p.ReplaceAllLiteralString(text, mask)
	}
	return text
}

// wordPattern finds words that are not part of another one.
func wordPattern(words map[string]bool) *regexp.Regexp {
	longestFirst := func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) }
	// They are made of letters, digits, '.', '-' and '_', with a letter or a digit at both ends.
	all := slices.SortedFunc(maps.Keys(words), longestFirst)
	for i := range all {
		all[i] = regexp.QuoteMeta(all[i])
	}
	return regexp.MustCompile(`\b(?:` + strings.Join(all, "|") + `)\b`)
}

func (m *masker) addLeaf(l leaf) {
	value := strings.TrimSpace(l.value)
	switch {
	case !shortWord(value):
		m.addForms(value)
	case saysSecret(l.name) && worthMasking(value):
		m.words[value] = true
		for _, form := range forms(value) {
			if form != value {
				m.forms[form] = true
			}
		}
	}
}

func (m *masker) addForms(value string) {
	value = strings.TrimSpace(value)
	if !worthMasking(value) {
		return
	}
	for _, form := range forms(value) {
		m.forms[form] = true
	}
	for _, inner := range slices.Concat(linesOf(value), secretSettings(value)) {
		m.addForms(inner)
	}
	for _, field := range secretFields(value) {
		m.addLeaf(field)
	}
}

// linesOf are the lines of a value of several, for it is seldom written in one piece.
func linesOf(value string) []string {
	if !strings.Contains(value, "\n") {
		return nil
	}
	var found []string
	for line := range strings.Lines(value) {
		if line = strings.TrimSpace(line); len(line) >= minLine && !pemBorder.MatchString(line) {
			found = append(found, line)
		}
	}
	return found
}

var (
	pemBorder   = regexp.MustCompile(`^-----(BEGIN|END) [A-Z0-9 ]+-----$`)
	digits      = regexp.MustCompile(`^[0-9]+$`)
	secretField = regexp.MustCompile(`(?i)key|secret|token|pass|pwd|psk|credential`)
	word        = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$`)
	// secretSetting is a line such as "token: abc" or "aws_secret_access_key = abc".
	secretSetting = regexp.MustCompile(
		`(?im)^[\s-]*["']?[\w.-]*(?:key|secret|token|password)[\w.-]*["']?\s*[:=]\s*["']?([^\s"']{8,})["']?,?\s*$`)
)

// saysSecret tells whether a name is that of a secret.
func saysSecret(name string) bool { return secretField.MatchString(name) }

// shortWord tells whether a value may well be no secret, and stand in a log for something else.
func shortWord(value string) bool {
	return len(value) < minLine && word.MatchString(value) && !digits.MatchString(value)
}

func worthMasking(value string) bool {
	short := len(value) < minSecret || digits.MatchString(value) && len(value) < minNumber
	return !short && !slices.Contains(trivial, strings.ToLower(value))
}

// secretFields are the fields of a JSON document, such as a Google service account's, that are secrets by themselves,
// however deep they lie, and also in a document that is a field of another one.
func secretFields(value string) []leaf {
	if !strings.HasPrefix(value, "{") && !strings.HasPrefix(value, "[") {
		return nil
	}
	document, ok := decode([]byte(value))
	if !ok {
		return nil
	}
	var found []leaf
	for _, l := range leaves("", document) {
		if saysSecret(l.name) {
			found = append(found, l)
		} else {
			found = append(found, secretFields(l.value)...)
		}
	}
	return found
}

// secretSettings are the secrets in a file of settings, such as a kubeconfig or an INI file.
func secretSettings(value string) []string {
	if !strings.Contains(value, "\n") {
		return nil
	}
	var found []string
	for _, match := range secretSetting.FindAllStringSubmatch(value, -1) {
		found = append(found, match[1])
	}
	return found
}

// forms are a value as it is and as it is commonly written.
func forms(value string) []string {
	all := []string{value}
	for _, escape := range []func(string) string{inJSON, inHTMLSafeJSON, inGo, inHCL} {
		once := escape(value)
		all = append(all, once, escape(once)) // twice: a string in a document that is a string of another one
	}
	query := url.QueryEscape(value)
	for _, escaped := range []string{query, strings.ReplaceAll(query, "+", "%20"), url.PathEscape(value)} {
		all = append(all, escaped, lowerEscapes(escaped))
	}
	if len(value) >= minLine {
		inHex := hex.EncodeToString([]byte(value))
		all = append(all, inHex, strings.ToUpper(inHex))
	}
	for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
		all = append(all, inBase64(encoding, value)...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func inJSON(value string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(value) // a string always encodes
	return unquote(strings.TrimSuffix(b.String(), "\n"))
}

func inHTMLSafeJSON(value string) string {
	b, _ := json.Marshal(value) // a string always encodes
	return unquote(string(b))
}

func inGo(value string) string { return unquote(strconv.Quote(value)) }

// inHCL is a quoted string in Terraform's own language.
func inHCL(value string) string {
	return strings.NewReplacer("${", "$${", "%{", "%%{").Replace(inJSON(value))
}

func unquote(quoted string) string { return quoted[1 : len(quoted)-1] }

var escapes = regexp.MustCompile(`%[0-9A-F]{2}`)

func lowerEscapes(escaped string) string {
	return escapes.ReplaceAllStringFunc(escaped, strings.ToLower)
}

// inBase64 is a value encoded by itself, and what stays the same of it wherever it stands in something longer that is
// encoded as a whole: that has three forms, since three bytes become four characters.
func inBase64(encoding *base64.Encoding, value string) []string {
	bare := encoding.WithPadding(base64.NoPadding)
	all := []string{encoding.EncodeToString([]byte(value)), bare.EncodeToString([]byte(value))}
	for offset := range 3 {
		encoded := encoding.EncodeToString(append(make([]byte, offset), value...))
		// A character that is made of bits of a neighbour too is another one there.
		from, to := (offset*8+5)/6, (offset+len(value))*8/6
		if to-from >= minSecret {
			all = append(all, encoded[from:to])
		}
	}
	return all
}

// result masks what a Result shows.
func (m *masker) result(r job.Result) job.Result {
	r.Message = m.apply(r.Message)
	r.Drift = slices.Clone(r.Drift)
	for i := range r.Drift {
		r.Drift[i].Address = m.apply(r.Drift[i].Address)
	}
	if w := r.Warnings; w != nil {
		r.Warnings = &job.Warnings{Total: w.Total, First: m.lines(w.First)}
	}
	if c := r.Checks; c != nil {
		r.Checks = &job.Checks{Failed: c.Failed, Messages: m.lines(c.Messages)}
	}
	return r
}

func (m *masker) lines(lines []string) []string {
	lines = slices.Clone(lines)
	for i, line := range lines {
		lines[i] = m.apply(line)
	}
	return lines
}

// document masks a text that may be JSON, and leaves it JSON: a secret number becomes a string.
func (m *masker) document(content []byte) []byte {
	masked := []byte(m.apply(string(content)))
	if len(masked) == len(content) && bytes.Equal(masked, content) || !json.Valid(content) || json.Valid(masked) {
		return masked
	}
	var document any
	d := json.NewDecoder(bytes.NewReader(content))
	d.UseNumber()
	if d.Decode(&document) != nil {
		return masked
	}
	b, err := json.Marshal(m.walk(document))
	if err != nil {
		return masked
	}
	return b
}

func (m *masker) walk(value any) any {
	switch v := value.(type) {
	case string:
		return m.apply(v)
	case json.Number:
		if masked := m.apply(v.String()); masked != v.String() {
			return masked
		}
	case []any:
		for i := range v {
			v[i] = m.walk(v[i])
		}
	case map[string]any:
		masked := make(map[string]any, len(v))
		for name, field := range v {
			masked[m.apply(name)] = m.walk(field)
		}
		return masked
	}
	return value
}
