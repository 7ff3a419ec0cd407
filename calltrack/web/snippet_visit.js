// The visit: consent, the cookie, signs of life, and what the page may call. Uses numbers() and guard().

var NAME = "calltrack_visit", TWO_WEEKS = 1209600, CONSENT = "data-calltrack-consent";
var AD = /[?&](?:utm_\w+|gclid|yclid|roistat|rs)=[^&#]*/g;
var RETRIES = [4, 16, 64, 256]; // seconds, while the server does not answer; the last one stays

var page = document.documentElement, before = window.calltrack;
var script = document.currentScript || document.querySelector('script[src*="/t/' + key + '.js"]');
if ((before && before.onNumber) || !script || !script.src) return; // the page has the snippet twice, or has copied it
var base = script.src.replace(/\.js([?#].*)?$/, "/");

var said; // what calltrack.consent() was last told
var granted; // the consent that the last question was asked with; undefined before the first
var visit = "", swaps = null, listeners = [];
var beatTime = 20, confirmTime = 3, confirmed = false, lastSign = 0, beats = 0, failures = 0, refusals = 0, turn = 0, timer;
var here = location.href, referrer = document.referrer;
var shown = numbers(document, function () {
  moved();
  consider();
});

// Consent: what the API was told, else the page's variable, else an attribute; nothing at all means yes.

function consent() {
  var word = said;
  if (word == null) word = window.calltrackConsent;
  if (word == null) word = page.getAttribute(CONSENT);
  if (word == null) word = script.getAttribute(CONSENT);
  word = String(word).toLowerCase();
  return word === "wait" ? undefined : !/^(false|denied|no|0)$/.test(word);
}

function consider() {
  var now = consent();
  if (now === granted || now === undefined) return;
  if (!now) forget();
  if (!document.prerendering && !document.hidden) start();
}

// The cookie belongs to the whole site: the widest domain that the browser accepts, so that www and shop share it.

function cookie() {
  var found = document.cookie.match(/(?:^|; )calltrack_visit=([^;]*)/);
  return found ? found[1] : "";
}

function keep(value, seconds) {
  var parts = location.hostname.split("."), at, rest;
  if (value) keep("", 0); // else an older one would look like this one
  rest = ";path=/;max-age=" + seconds + ";SameSite=Lax" + (location.protocol === "https:" ? ";Secure" : "");
  for (at = parts.length - 2; at >= 0; at--) {
    document.cookie = NAME + "=" + value + rest + ";domain=" + parts.slice(at).join(".");
    if (value && cookie() === value) return;
  }
  document.cookie = NAME + "=" + value + rest;
}

function forget() {
  if (visit) tell("leave");
  visit = "";
  api.visit = null;
  keep("", 0);
  stored(null);
}

// What was shown on the last page is shown on the next one at once, while the number is surely still the visitor's.

function stored(value) {
  try {
    if (value === undefined) return JSON.parse(sessionStorage.getItem(NAME)) || {};
    if (value) sessionStorage.setItem(NAME, JSON.stringify(value));
    else sessionStorage.removeItem(NAME);
  } catch (problem) {} // storage may be forbidden: the number then comes a moment later
  return {};
}

function sign() {
  lastSign = Date.now();
  if (visit) stored({ key: key, visit: visit, until: lastSign + 2000 * beatTime, swaps: swaps });
}

// Questions and signs of life.

function start() {
  var last = stored(), known = cookie();
  granted = consent();
  here = location.href;
  confirmed = false;
  if (!swaps && granted && last.key === key && last.visit === known && last.until > Date.now()) show(last.swaps);
  ask("visit", { v: 1, page: cut(here), referrer: cut(referrer), visit: granted ? known : "", consent: granted });
}

function cut(url) {
  return String(url).slice(0, 2000);
}

function ask(what, body) {
  var request = new XMLHttpRequest(), mine = ++turn;
  request.open("POST", base + what);
  request.setRequestHeader("Content-Type", "text/plain"); // needs no preflight
  request.timeout = 10000;
  request.onloadend = guard(function () {
    var status = request.status;
    if (mine !== turn || granted !== consent()) return; // something later has been asked, or nothing may be any more
    if (status === 200) take(JSON.parse(request.responseText), what);
    else if (!status || status === 429 || status >= 500) wait(RETRIES[Math.min(failures++, RETRIES.length - 1)]);
    else if (what === "beat" && refusals++ < 2) start(); // the server no longer knows this visit
    else throw status + " " + request.responseText;
  });
  request.send(JSON.stringify(body));
}

function tell(what) {
  return !!navigator.sendBeacon && navigator.sendBeacon(base + what, JSON.stringify({ visit: visit }));
}

function take(answer, what) {
  visit = /^\d+\.\w+$/.test(answer.visit) ? answer.visit : "";
  api.visit = visit ? parseInt(visit, 10) : null;
  beatTime = within(answer.beat, 5, 300, 20);
  confirmTime = within(answer.confirm, 1, 60, 3);
  confirmed = what === "beat";
  failures = 0;
  if (visit) keep(visit, TWO_WEEKS);
  show(answer.swaps);
  sign();
  wait(confirmed ? beatTime : confirmTime);
}

function within(value, least, most, otherwise) {
  return value >= least ? Math.min(value, most) : otherwise;
}

function wait(seconds) {
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(guard(beat), seconds * 1000);
}

function beat() {
  var late = Date.now() - lastSign > 2500 * beatTime; // the machine slept
  if (!visit && failures) start();
  if (!visit) return;
  // The first answer brings the number of a visit that has stayed; later ones are looked at now and then.
  if (!confirmed || late || ++beats % 3 === 0 || !tell("beat")) return ask("beat", { visit: visit });
  sign();
  wait(beatTime);
}

function seen() {
  if (document.hidden) return clearTimeout(timer);
  if (granted === undefined || granted !== consent()) return consider();
  beats = 2; // ask what is to be shown now
  wait(Date.now() - lastSign > 1000 * confirmTime ? 0 : confirmTime);
}

function moved() {
  var from = here;
  if (from === location.href) return;
  here = location.href;
  if (granted === undefined || !ad(here) || ad(here) === ad(from)) return;
  referrer = from;
  start();
}

function ad(url) {
  return (url.match(AD) || []).join("");
}

function show(list) {
  var known = JSON.stringify(swaps);
  swaps = (Array.isArray(list) ? list : []).filter(function (swap) {
    if (!swap || typeof swap.text !== "string" || typeof swap.tel !== "string") return false;
    swap.tel = swap.tel.replace(/[^+\d]/g, "");
    return true;
  });
  if (JSON.stringify(swaps) === known) return;
  api.number = swaps.length ? swaps[0].tel : "";
  shown.show(swaps);
  listeners.forEach(announce);
}

function announce(listener) {
  (swaps || []).forEach(function (swap) {
    listener(swap.tel, swap);
  });
}

// What the page may call.

var api = {
  visit: null, // the number of the visit
  number: "", // E.164, with the plus
  onNumber: guard(function (listener) {
    listener = guard(listener);
    listeners.push(listener);
    announce(listener);
  }),
  consent: guard(function (value) {
    said = value;
    consider();
  }),
  refresh: guard(shown.scan),
  push: guard(function (work) {
    work(api);
  })
};

window.calltrack = api;
if (Array.isArray(before)) before.forEach(api.push);
new MutationObserver(guard(consider)).observe(page, { attributes: true, attributeFilter: [CONSENT] });
document.addEventListener("visibilitychange", guard(seen));
document.addEventListener("prerenderingchange", guard(consider));
window.addEventListener("popstate", guard(moved));
window.addEventListener("pageshow", guard(function (event) {
  if (event.persisted) seen();
}));
window.addEventListener("pagehide", guard(function () {
  clearTimeout(timer);
  if (visit) tell("leave");
}));
consider();
