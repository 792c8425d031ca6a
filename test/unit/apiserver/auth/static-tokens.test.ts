import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseStaticTokens, readStaticTokens } from '../../../../apiserver/auth/static-tokens.ts';
import { silentLogger } from '../../../../lib/log.ts';

const ANN = '0123456789abcdef0123';
const BOB = 'fedcba98765432100123';

test('readStaticTokens() knows the users of a file, and follows its changes', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'windlass-test-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, 'tokens.csv');
  writeFileSync(file, `# people\n${ANN},ann,1,"system:masters,ops"\n\n`);
  const tokens = readStaticTokens(file, silentLogger());
  assert.deepEqual(tokens.identify(ANN), { name: 'ann', groups: ['system:masters', 'ops', 'system:authenticated'] });
  assert.equal(tokens.identify(BOB), undefined);
  writeFileSync(file, `${BOB},bob,2\n`);
  assert.equal(tokens.identify(ANN), undefined);
  assert.deepEqual(tokens.identify(BOB), { name: 'bob', groups: ['system:authenticated'] });
  // Half a file is no reason to let nobody in, or somebody else.
  writeFileSync(file, 'nonsense\n');
  assert.equal(tokens.identify(BOB)?.name, 'bob');
});

test('parseStaticTokens() names the line that is wrong', () => {
  for (const [text, problem] of [
    ['a', /line 1: want token,user,uid/],
    [`${ANN},ann,1,g,more`, /line 1: want token,user,uid/],
    ['\nshort,ann,1', /line 2: the token must have at least 16 characters/],
    [`${ANN},,1`, /line 1: the user must not be empty/],
    [`x"${ANN}",a-user-with-a-long-name,${BOB},1`, /line 1: want token,user,uid/],
    [`${ANN},ann,1,"system:masters`, /line 1: want token,user,uid/],
    [`${ANN},ann,1\n${ANN},bob,2`, /line 2: the token is there twice/],
  ] as const) {
    assert.throws(() => parseStaticTokens(text, 'tokens.csv'), problem);
  }
});
