import assert from 'node:assert/strict';
import { performance } from 'node:perf_hooks';
import { test } from 'node:test';
import { createRedactor } from '../../../../builder/run/redactor.ts';

const of = (...secrets: string[]) => createRedactor(secrets.map((text) => Buffer.from(text)));

test('createRedactor() hides the longer of two that begin alike', () => {
  const redact = of('token', 'token-long', 'token-lond', 'token-l\ntoken-long-er-still');
  assert.equal(redact('a token-long b token c token-l d'), 'a *** b *** c *** d');
  assert.equal(redact('token-longtoken'), '******');
  assert.equal(redact.longest, 'token-long-er-still'.length);
  assert.equal(of()('text'), 'text');
  assert.equal(of('abc\n')('abc'), 'abc');
});

test('createRedactor() hides all of two that overlap', () => {
  assert.equal(of('abcd1', 'd1xyz-and-more')('> abcd1xyz-and-more <'), '> *** <');
  assert.equal(of('aaaa')('xaaaaaax'), 'x***x');
});

test('createRedactor() shows what no line of a secret is in, and nothing that one is in', () => {
  let seed = 7;
  const next = (below: number): number => (seed = (seed * 48271) % 2147483647) % below;
  const word = (length: number): string => Array.from({ length }, () => 'abü'[next(3)]).join('');
  for (let round = 0; round < 500; round += 1) {
    const secrets = Array.from({ length: 1 + next(6) }, () => word(4 + next(4)));
    const text = word(next(60));
    const isHidden = Array.from(text, (_, at) =>
      secrets.some((secret) =>
        Array.from(secret, (_one, back) => at - back).some((from) => from >= 0 && text.startsWith(secret, from)),
      ),
    );
    const wanted = Array.from(text)
      .filter((_, at) => !isHidden[at])
      .join('');
    assert.equal(of(...secrets)(text).replaceAll('***', ''), wanted, `${secrets.join()} in ${text}`);
  }
});

test('createRedactor() takes no longer for a secret of many lines than for a short one', () => {
  const lines = Array.from({ length: 20_000 }, (_, index) => `AAAA-line-${index * 7919}-of-a-large-secret`);
  const redact = of(lines.join('\n'));
  const text = `${'AAAA-line-1 is none of it. '.repeat(2000)}\n`;
  const startedAt = performance.now();
  for (let round = 0; round < 20; round += 1) assert.equal(redact(text), text);
  // One megabyte; a search for each of the lines takes more than a minute.
  assert.ok(performance.now() - startedAt < 10_000);
  assert.equal(redact(`x${lines[777]}y`), 'x***y');
});
