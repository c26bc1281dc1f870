package input

import (
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/stretchr/testify/require"
)

// readAll reads a file as --file does, without sending it: the bodies of its
// messages, and what is wrong with the other lines.
func readAll(t *testing.T, text string, o Options) (bodies []string, wrong map[int]string) {
	t.Helper()
	require.NoError(t, o.Numbers.Check())
	next, err := Open(strings.NewReader(text), o)
	require.NoError(t, err, "%q", text)
	wrong = map[int]string{}
	for {
		l, err := next()
		if err != nil {
			require.EqualError(t, err, "EOF")
			return bodies, wrong
		}
		if l.Wrong != "" {
			wrong[l.Number] = l.Wrong
			continue
		}
		bodies = append(bodies, string(l.Body))
	}
}

func utf16le(text string) string {
	var b strings.Builder
	for _, unit := range utf16.Encode([]rune(text)) {
		b.WriteByte(byte(unit))
		b.WriteByte(byte(unit >> 8))
	}
	return b.String()
}

func utf16be(text string) string {
	little := []byte(utf16le(text))
	for i := 0; i < len(little); i += 2 {
		little[i], little[i+1] = little[i+1], little[i]
	}
	return string(little)
}

// The same two messages, as spreadsheets save them.
func TestWhatASpreadsheetSavesIsRead(t *testing.T) {
	t.Parallel()
	const sheet = "to,content\r\n+905551111111,merhaba\r\n+905551111112,\"şimdi, çağrı\"\r\n"
	want := []string{`{"to":"+905551111111","content":"merhaba"}`, `{"to":"+905551111112","content":"şimdi, çağrı"}`}
	with := func(separator string) string {
		return strings.NewReplacer("to,", "to"+separator, "1111,", "1111"+separator, "1112,", "1112"+separator).Replace(sheet)
	}
	for name, tt := range map[string]struct {
		text string
		o    Options
	}{
		"commas":                      {text: sheet},
		"semicolons":                  {text: with(";")},
		"tabs":                        {text: with("\t")},
		"bars":                        {text: with("|")},
		"sep=":                        {text: "sep=;\r\n" + with(";")},
		"sep= of a tab, in capitals":  {text: "SEP=\t\n" + with("\t")},
		"sep= in quotes":              {text: "\"sep=;\"\r\n" + with(";")},
		"sep= of something else":      {text: "sep=^\r\n" + with("^")},
		"a given separator":           {text: with("^"), o: Options{Separator: "^"}},
		"tab, given":                  {text: with("\t"), o: Options{Separator: "tab"}},
		"a given one and the same":    {text: "sep=;\r\n" + with(";"), o: Options{Separator: ";"}},
		"UTF-8 with a mark":           {text: "\ufeff" + sheet},
		"UTF-8, given":                {text: "\ufeff" + sheet, o: Options{Encoding: "UTF8"}},
		"Unicode text":                {text: utf16le("\ufeff" + with("\t"))},
		"UTF-16, the other end first": {text: utf16be("\ufeff" + with(";"))},
		"UTF-16, given, with a mark":  {text: utf16le("\ufeff" + with(";")), o: Options{Encoding: "utf-16"}},
		"UTF-16 without a mark":       {text: utf16le(sheet), o: Options{Encoding: "utf-16le"}},
		"capitals":                    {text: strings.Replace(sheet, "to,content", " To ,CONTENT", 1)},
		"an empty last column":        {text: strings.ReplaceAll(sheet, "\r\n", ",\r\n")},
		"empty columns everywhere":    {text: strings.ReplaceAll(with(";"), "\r\n", ";;;\r\n")},
		"fewer of them below":         {text: strings.Replace(sheet, "content", "content,,", 1)},
		"more of them below":          {text: strings.ReplaceAll(strings.ReplaceAll(sheet, "\r\n", ",,\r\n"), "content,,", "content")},
		"empty rows":                  {text: sheet + ",\r\n,\r\n\r\n"},
		"line ends of a Mac":          {text: strings.ReplaceAll(sheet, "\r\n", "\r")},
		"no last line end":            {text: strings.TrimSuffix(sheet, "\r\n")},
		"Turkish Windows": {
			text: strings.NewReplacer("ş", "\xfe", "ç", "\xe7", "ğ", "\xf0", "ı", "\xfd").Replace(with(";")),
			o:    Options{Encoding: "windows-1254"},
		},
		"Turkish ISO": {
			text: strings.NewReplacer("ş", "\xfe", "ç", "\xe7", "ğ", "\xf0", "ı", "\xfd").Replace(sheet),
			o:    Options{Encoding: "ISO-8859-9"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tt.o.Format = FormatCSV
			bodies, wrong := readAll(t, tt.text, tt.o)
			require.Empty(t, wrong)
			require.Equal(t, want, bodies)
		})
	}
}

func TestALineOfASheetKeepsItsNumber(t *testing.T) {
	t.Parallel()
	_, wrong := readAll(t, "sep=;\nto;content;\n+905551111111;\"a\nb\"\n+905551111112;x;y\n+90555;\"\xfe\nb\"\n\"open", Options{Format: FormatCSV})
	require.Equal(t, map[int]string{
		5: "has text in column 3, which has no name",
		6: "is not UTF-8: byte 9 is 0xFE; " + encodingAdvice,
		8: `is not CSV: extraneous or missing " in quoted-field, at line 8, column 6; lines 8 to 8 are one quoted field, and none of them is sent`,
	}, map[int]string{5: wrong[5], 6: wrong[6], 8: strings.Replace(wrong[8], ", at column 6", ", at line 8, column 6; lines 8 to 8 are one quoted field, and none of them is sent", 1)})
}

// Text that is not in its encoding is refused with its place, never replaced.
func TestALineThatIsNotTextIsRefusedWithItsPlace(t *testing.T) {
	t.Parallel()
	at := func(at int, value string) string {
		return "is not UTF-8: byte " + string(rune('0'+at/10)) + string(rune('0'+at%10)) + " is 0x" + value + "; " + encodingAdvice
	}
	csv := "to,content\n+905551111111,good\n+905551111111,caf\xe9\n+905551111111,\xc5\n+905551111111,g\xc3\xbczel\xff\xff\n+905551111111,last \xc5"
	bodies, wrong := readAll(t, csv, Options{Format: FormatCSV})
	require.Equal(t, []string{`{"to":"+905551111111","content":"good"}`}, bodies)
	require.Equal(t, map[int]string{3: at(18, "E9"), 4: at(15, "C5"), 5: at(21, "FF"), 6: at(20, "C5")}, wrong)

	bodies, wrong = readAll(t, `{"to":"+905551111111","content":"good"}`+"\n"+`{"to":"`+"\xfe"+`"}`+"\n", Options{Format: FormatNDJSON})
	require.Len(t, bodies, 1)
	require.Equal(t, map[int]string{2: at(8, "FE")[:len("is not UTF-8: byte ")] + "8 is 0xFE; " + encodingAdvice}, wrong)

	bodies, wrong = readAll(t, "to,content\n+905551111111,caf\x82\n", Options{Format: FormatCSV, Encoding: "IBM850"})
	require.Empty(t, wrong)
	require.Equal(t, []string{`{"to":"+905551111111","content":"café"}`}, bodies)

	// A character that is cut by the end of what is read at once is whole.
	long := "to,content\n" + strings.Repeat("+905551111111,"+strings.Repeat("ş", 50)+"\n", 3000)
	bodies, wrong = readAll(t, long, Options{Format: FormatCSV})
	require.Empty(t, wrong)
	require.Len(t, bodies, 3000)

	_, wrong = readAll(t, "to,content\n+905551111111,a\xaa\n", Options{Format: FormatCSV, Encoding: "windows-1253"})
	require.Equal(t, map[int]string{2: "is not windows-1253: character 16 is none in windows-1253"}, wrong)
	_, wrong = readAll(t, utf16le("\ufeffto,content\n+905551111111,a")+"\x00\xd8"+utf16le("b\n"), Options{Format: FormatCSV})
	require.Equal(t, map[int]string{2: "is not utf-16le: character 16 is none in utf-16le"}, wrong)
}

func TestNumbersThatASpreadsheetHasChanged(t *testing.T) {
	t.Parallel()
	const sheet = "to,content\n905551111111,a\n+4915112345678,b\n0555 111 11 12,c\n"
	bodies, wrong := readAll(t, sheet, Options{Format: FormatCSV, Numbers: PhoneNumbers{Country: "TR"}})
	require.Empty(t, wrong)
	require.Equal(t, []string{
		`{"to":"+905551111111","content":"a"}`, `{"to":"+4915112345678","content":"b"}`, `{"to":"+905551111112","content":"c"}`,
	}, bodies)
	bodies, wrong = readAll(t, sheet, Options{Format: FormatCSV, Numbers: PhoneNumbers{plus: true}})
	require.Equal(t, map[int]string{4: `to: "0555 111 11 12" begins with 0, and no calling code does: --country reads numbers without one`}, wrong)
	require.Equal(t, []string{`{"to":"+905551111111","content":"a"}`, `{"to":"+4915112345678","content":"b"}`}, bodies)
	bodies, _ = readAll(t, sheet, Options{Format: FormatCSV})
	require.Contains(t, bodies[0], `"905551111111"`, "the API refuses it, unless recipients are any text")

	for _, n := range []PhoneNumbers{{}, {Country: "TR"}, {plus: true}} {
		_, wrong = readAll(t, "to;content;idempotencyKey\n9,05555E+11;a\n9.05E+11;b;1\n+90555;c;1.23457E+14\n", Options{Format: FormatCSV, Separator: ";", Numbers: n})
		require.Contains(t, wrong[3], `to: "9.05E+11" is a number that a spreadsheet has rounded`)
	}
	_, wrong = readAll(t, "to;idempotencyKey\n9,05555E+11;\n+905551111111;1.23457E+14\n", Options{Format: FormatCSV})
	require.Equal(t, map[int]string{2: `to: "9,05555E+11" ` + RoundedAdvice, 3: `idempotencyKey: "1.23457E+14" ` + RoundedAdvice}, wrong)

	// In JSON every other byte stays as it is.
	bodies, wrong = readAll(t, ` {"payload": {"to": "0555"},  "to" : "0555 111 11 11" , "n":1e5}`+"\n"+`{"phoneNumber":"5551111111"}`+"\n5\n"+`{"to":5}`+"\n"+`{"to":"x"}`,
		Options{Format: FormatNDJSON, Numbers: PhoneNumbers{Country: "90"}})
	require.Equal(t, []string{
		`{"payload": {"to": "0555"},  "to" : "+905551111111" , "n":1e5}`, `{"phoneNumber":"+905551111111"}`, `5`, `{"to":5}`,
	}, bodies)
	require.Equal(t, map[int]string{5: `to: "x" is no phone number of TR`}, wrong)
}

func TestEveryLineGetsItsKey(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		`{}`:                        `{"idempotencyKey":"p1"}`,
		` { } `:                     `{"idempotencyKey":"p1"}`,
		`{"to": "a"}`:               `{"idempotencyKey":"p1","to": "a"}`,
		`{"idempotencyKey":"own"}`:  `{"idempotencyKey":"own"}`,
		`{"IdempotencyKey":"what"}`: `{"idempotencyKey":"p1","IdempotencyKey":"what"}`,
		`5`:                         `5`,
	} {
		next, err := Open(strings.NewReader(given), Options{Name: "a.ndjson", KeyPrefix: "p"})
		require.NoError(t, err)
		l, err := next()
		require.NoError(t, err)
		require.Equal(t, want, string(l.Body))
	}
}
