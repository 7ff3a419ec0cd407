// Writes numbers into the page: into text in any formatting of their digits, into tel: links and what they are called,
// and into elements that selectors choose. Knows no visits and no server. Nodes are written to, never replaced, and
// what stood there is remembered, so that another number or none can follow.
//
// numbers(document, changed) -> {show(swaps), scan()}; changed() is called before each look at what the page changed.

function numbers(document, changed) {
  // What may stand between two digits; a run of digits that may be a number.
  var GAP = "[\\s().\\/\\u00ad\\u200b\\u2060\\u2010-\\u2015\\u2212-]{0,4}";
  var ANY = new RegExp("(?:\\+|00)?\\(?\\d(?:" + GAP + "\\d){6,14}", "g");
  // Elements that are left alone (a title ends up in bookmarks), and those that do not end a line of text.
  var SKIP = /^(title|script|style|noscript|template|textarea|input|select|option|iframe|object|canvas)$/i;
  var INLINE = /^(a|abbr|b|bdi|bdo|big|cite|em|font|i|ins|label|mark|nobr|q|s|small|span|strong|sub|sup|u|var|wbr)$/i;
  var LINK = 'a[href^="tel:"],area[href^="tel:"]';
  var FIGHT = 200, FIGHTS = 20; // milliseconds, and how often in a row the page may undo what we wrote within them
  var MANY = 100; // changed places from which on the whole page is looked at
  var LONG = 8, SHARE = 10; // milliseconds of a look after which we rest, so that the page has ten times as long for itself

  var patterns = [], selectors = [], choice = "", run = [], pending = [], resting = false;
  var memories = { text: new WeakMap(), href: new WeakMap(), title: new WeakMap(), "aria-label": new WeakMap() };
  var watched = new WeakMap();
  var observer = new MutationObserver(guard(look));

  function show(swaps) {
    patterns = [];
    selectors = [];
    swaps.forEach(function (swap) {
      list(swap.replace).forEach(function (digits) {
        digits = String(digits).replace(/\D/g, "");
        if (digits.length > 4) patterns.push({ swap: swap, expression: pattern(digits) });
      });
      list(swap.selectors).forEach(function (selector) {
        try {
          document.querySelector(selector);
          selectors.push({ swap: swap, selector: selector });
        } catch (problem) {} // this browser does not know it: the others count
      });
    });
    choice = selectors
      .map(function (one) {
        return one.selector;
      })
      .join(",");
    scan([document]);
    watch(document);
  }

  function list(value) {
    return Array.isArray(value) ? value : [];
  }

  // 8 and +7 are the same country, and the country code 1 may be left out.
  function pattern(digits) {
    var all = digits.split(""), first = "";
    if (all.length === 11 && /[78]/.test(all[0])) first = "[78]" + GAP;
    else if (all.length === 11 && all[0] === "1") first = "(?:1" + GAP + ")?";
    if (first) all.shift();
    return new RegExp("(?:\\+|00)?[(]?" + first + "[(]?" + all.join(GAP), "g");
  }

  // [{from, to, text}]: what is to be written over which part of a text. `own`: the element that a selector chose.
  function edits(text, own) {
    var found = [], end = 0;
    function seek(expression, put) {
      var match, from, to, start, ahead;
      expression.lastIndex = 0;
      while ((match = expression.exec(text))) {
        start = from = match.index;
        to = from + match[0].length;
        if (/^\([^)]*$/.test(match[0])) from++; // that parenthesis holds more than the number
        ahead = text.slice(Math.max(0, start - 9), start);
        if (/\d$/.test(ahead) || /\d/.test(text.charAt(to))) continue;
        if (/^\(?\d/.test(match[0]) && /\+\d{1,3}[\s.(-]*$/.test(ahead)) continue; // another country's
        found.push({ from: from, to: to, text: put });
      }
    }
    if (own) seek(ANY, own.swap.text);
    else
      patterns.forEach(function (one) {
        seek(one.expression, one.swap.text);
      });
    found.sort(function (one, other) {
      return one.from - other.from || other.to - one.to;
    });
    return found.filter(function (one) {
      var free = one.from >= end;
      if (free) end = one.to;
      return free;
    });
  }

  // What becomes of text[from:to]. An edit that reaches over its end is written where it begins.
  function applied(found, text, from, to) {
    var at = from, now = "";
    found.forEach(function (edit) {
      now += text.slice(at, Math.max(at, Math.min(edit.from, to)));
      if (edit.from >= from && edit.from < to) now += edit.text;
      at = Math.max(at, Math.min(edit.to, to));
    });
    return now + text.slice(at, to);
  }

  function original(memory, node, now) {
    var one = memory.get(node);
    return one && one.wrote === now ? one.was : now;
  }

  // Remember what stood there. False when the page keeps undoing it: then the page has the last word.
  function note(memory, node, was, wrote) {
    var last = memory.get(node), now = Date.now(), fights = 0;
    if (last && last.was === was && now - last.at < FIGHT) fights = last.fights + 1;
    memory.set(node, { was: was, wrote: wrote, at: now, fights: fights });
    return fights < FIGHTS;
  }

  // The text nodes met since the last flush are one line: a number may be split among them.
  function flush(own) {
    var nodes = run, text = "", from = 0, dirty = false, bare, found;
    if (!nodes.length) return;
    run = [];
    var was = nodes.map(function (node) {
      var one = original(memories.text, node, node.data);
      if (one !== node.data) dirty = true;
      text += one;
      return one;
    });
    bare = own && !/\d/.test(text) && !own.element.firstElementChild; // a place that holds nothing yet
    if (!bare && !dirty && !/\d/.test(text)) return;
    found = bare ? [] : edits(text, own);
    nodes.forEach(function (node, index) {
      var to = from + was[index].length;
      var now = !bare ? applied(found, text, from, to) : index ? "" : own.swap.text;
      from = to;
      if (now !== node.data && note(memories.text, node, was[index], now)) node.data = now;
    });
  }

  function link(node, own) {
    attribute(node, "href", function (href) {
      var digits = href.replace(/%..|[;,?].*/g, "").replace(/\D/g, ""), swap = own && own.swap;
      if (!/^tel:/i.test(href)) return href;
      patterns.forEach(function (one) {
        one.expression.lastIndex = 0;
        if (!swap && (one.expression.exec(digits) || [])[0] === digits) swap = one.swap;
      });
      return swap ? "tel:" + swap.tel : href;
    });
    ["title", "aria-label"].forEach(function (name) {
      attribute(node, name, function (text) {
        return applied(edits(text, own), text, 0, text.length);
      });
    });
  }

  function attribute(node, name, rewrite) {
    var value = node.getAttribute(name), was, now;
    if (!value) return;
    was = original(memories[name], node, value);
    now = rewrite(was);
    if (now !== value && note(memories[name], node, was, now)) node.setAttribute(name, now);
  }

  function chosen(element) {
    if (!choice || !element.matches(choice)) return;
    for (var at = 0; at < selectors.length; at++) {
      if (element.matches(selectors[at].selector)) return { swap: selectors[at].swap, element: element };
    }
  }

  // Whether it is edited is asked of attributes, as isContentEditable makes the browser compute styles.
  function skipped(element) {
    if (SKIP.test(element.nodeName) || element.hasAttribute("data-calltrack-ignore")) return true;
    var edited = element.getAttribute("contenteditable");
    return edited !== null && edited !== "false";
  }

  function walk(node, own) {
    var inline = false, mine = own, child;
    if (node.nodeType === 3) return run.push(node);
    if (node.nodeType === 1) {
      if (skipped(node)) return flush(own);
      mine = chosen(node) || own;
      inline = mine === own && INLINE.test(node.nodeName);
      if (!inline) flush(own);
      if (mine !== own) {
        if (!node.firstChild) node.appendChild(document.createTextNode(""));
        child = node.parentElement && node.parentElement.closest(LINK);
        if (child && !chosen(child)) link(child, mine);
      }
      if (/^a(rea)?$/i.test(node.nodeName)) link(node, mine);
      if (node.shadowRoot) {
        walk(node.shadowRoot, mine);
        watch(node.shadowRoot);
      }
    } else if (node.nodeType !== 9 && node.nodeType !== 11) return;
    for (child = node.firstChild; child; child = child.nextSibling) walk(child, mine);
    if (!inline) flush(mine);
  }

  // Where a walk has to begin to see whole lines and the elements that selectors chose; null: nowhere.
  function root(node) {
    var top = node, inside = true, at;
    for (at = node; at && at !== document; at = at.parentNode || at.host) {
      if (at.nodeType === 1 && skipped(at)) return null;
      if (inside || (at.nodeType === 1 && chosen(at))) top = at;
      if (at.nodeType === 1 && !INLINE.test(at.nodeName)) inside = false;
    }
    return at && top; // without a document above it, it has left the page
  }

  function scan(nodes) {
    var roots = [];
    nodes.forEach(function (node) {
      var top = root(node);
      if (top && roots.indexOf(top) < 0) roots.push(top);
    });
    roots.forEach(function (top) {
      run = [];
      walk(top);
      flush();
    });
    observer.takeRecords(); // of what we have written ourselves
  }

  function look(records) {
    changed();
    records.forEach(function (record) {
      if (pending.length < MANY && pending.indexOf(record.target) < 0) pending.push(record.target);
    });
    if (!resting) work();
  }

  function work() {
    var nodes = pending.length < MANY ? pending : [document], began = Date.now(), took;
    pending = [];
    scan(nodes);
    took = Date.now() - began;
    resting = took > LONG;
    if (resting) setTimeout(guard(rested), took * SHARE);
  }

  function rested() {
    resting = false;
    if (pending.length) work();
  }

  function watch(node) {
    if (watched.has(node)) return;
    watched.set(node, true);
    observer.observe(node, {
      childList: true, subtree: true, characterData: true, attributes: true, attributeFilter: ["href", "aria-label", "title"]
    });
  }

  return {
    show: show,
    scan: function () {
      scan([document]);
    }
  };
}
