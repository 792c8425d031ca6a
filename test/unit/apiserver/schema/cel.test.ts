import { deepEqual, equal, match, ok, throws } from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { parse } from 'yaml';
import { compileRules } from '../../../../apiserver/schema/cel.ts';
import { applyDefaults } from '../../../../apiserver/schema/defaults.ts';
import { describeFieldError } from '../../../../apiserver/schema/field-error.ts';
import type { StructuralSchema, ValidationRule } from '../../../../apiserver/schema/structural.ts';
import { validateSchema } from '../../../../apiserver/schema/validate.ts';

const withRule = (schema: StructuralSchema, rule: string, more: Partial<ValidationRule> = {}): StructuralSchema => ({
  type: 'object',
  properties: { spec: { ...schema, 'x-kubernetes-validations': [{ rule, ...more }] } },
});
const shown = (schema: StructuralSchema, spec: unknown, oldSpec?: unknown): string[] =>
  compileRules(schema)({ spec }, oldSpec === undefined ? undefined : { spec: oldSpec }).map(
    (error) => `${error.field}: ${describeFieldError(error)}`,
  );

const anything: StructuralSchema = { 'x-kubernetes-preserve-unknown-fields': true };
const numbers: StructuralSchema = {
  type: 'object',
  properties: {
    i: { type: 'integer' },
    d: { type: 'number' },
    'a-b': { type: 'string' },
    t: { type: 'string', format: 'date-time' },
  },
};

const TRUE_RULES: [StructuralSchema, unknown, string][] = [
  [numbers, { i: 3, d: 3 }, 'self.i == 3 && self.d == 3.0 && type(self.i) == int && type(self.d) == double'],
  [numbers, { d: 5 }, 'self.d / 2.0 > 2.4 && !has(self.i)'],
  [numbers, { 'a-b': 'x' }, "self.a__dash__b == 'x'"],
  [numbers, { t: '2026-01-01T00:00:00Z' }, "self.t < timestamp('2026-02-01T00:00:00Z')"],
  [anything, { list: [1, 2, 3] }, 'self.list.isSorted() && self.list.sum() == 6 && self.list.indexOf(3) == 2'],
  [anything, { list: [1, 2, 3] }, 'self.list.min() == 1 && self.list.max() == 3 && self.list.map(x, x * 2)[2] == 6'],
  [anything, { list: ['a', 'b'] }, "self.list.exists_one(x, x == 'a') && self.list.filter(x, x != 'a').size() == 1"],
  [anything, { s: 'web-1' }, "self.s.matches('^[a-z]+-[0-9]$') && self.s.find('[0-9]+') == '1'"],
  [anything, { s: 'web' }, "self.s.replace('e', '$&') == 'w$&b' && self.s.charAt(1) == 'e'"],
  [anything, { q: '1Gi' }, "quantity(self.q).isGreaterThan(quantity('500Mi')) && !isQuantity('x')"],
  [anything, { c: '10.0.0.0/8' }, "cidr(self.c).containsIP('10.1.2.3') && !cidr(self.c).containsIP('11.0.0.1')"],
  [anything, { c: '10.0.0.0/8' }, "cidr(self.c).containsCIDR('10.1.0.0/16') && isIP('::1') && ip('::1').family() == 6"],
  [
    anything,
    { u: 'https://x.org:8443/a' },
    "url(self.u).getHostname() == 'x.org' && url(self.u).getScheme() == 'https'",
  ],
  [anything, { a: { b: 1 } }, "self.?a.?c.orValue(7) == 7 && 'a' in self && !('toString' in self)"],
];
for (const [schema, value, rule] of TRUE_RULES) {
  test(`a rule holds: ${rule}`, () => deepEqual(shown(withRule(schema, rule), value), []));
}

test('a broken rule names its field, its message and its reason', () => {
  const schema = withRule(anything, '!has(self.a) || self.b == 1', { message: 'needs b', fieldPath: '.a.x' });
  deepEqual(shown(schema, { a: 1, b: 2 }), ['spec.a.x: Invalid value: "object": needs b']);
  deepEqual(shown(withRule(anything, 'self.a == 1', { reason: 'FieldValueForbidden' }), { a: 2 }), [
    'spec: Forbidden: failed rule: self.a == 1',
  ]);
  const computed = withRule(anything, 'self.a == 1', { messageExpression: "'a is ' + string(self.a)" });
  deepEqual(shown(computed, { a: 2 }), ['spec: Invalid value: "object": a is 2']);
  const brokenMessage = withRule(anything, 'self.a == 1', { messageExpression: 'self.zzz', message: 'plain' });
  deepEqual(shown(brokenMessage, { a: 2 }), ['spec: Invalid value: "object": plain']);
});

test('an error while evaluating fails the rule and says which', () => {
  deepEqual(shown(withRule(anything, 'self.x == 1', { message: 'x is one' }), {}), [
    'spec: Invalid value: "object": No such key: x evaluating rule: x is one',
  ]);
});

test('rules on oldSelf run on updates only, and lists of type map are compared item by item', () => {
  const immutable = withRule({ type: 'string' }, 'self == oldSelf', { message: 'immutable' });
  deepEqual(shown(immutable, 'a'), []);
  deepEqual(shown(immutable, 'a', 'a'), []);
  deepEqual(shown(immutable, 'b', 'a'), ['spec: Invalid value: "b": immutable']);
  const optional = withRule({ type: 'string' }, "oldSelf.orValue('a') == self", { optionalOldSelf: true });
  equal(shown(optional, 'b').length, 1);
  equal(shown(optional, 'b', 'b').length, 0);
  const list: StructuralSchema = {
    type: 'object',
    properties: {
      spec: {
        type: 'array',
        'x-kubernetes-list-type': 'map',
        'x-kubernetes-list-map-keys': ['name'],
        items: {
          type: 'object',
          properties: { name: { type: 'string' }, v: { type: 'integer' } },
          'x-kubernetes-validations': [{ rule: 'self.v >= oldSelf.v' }],
        },
      },
    },
  };
  const old = [
    { name: 'a', v: 1 },
    { name: 'b', v: 5 },
  ];
  deepEqual(
    shown(
      list,
      [
        { name: 'b', v: 4 },
        { name: 'a', v: 1 },
        { name: 'c', v: 0 },
      ],
      old,
    ),
    ['spec[0]: Invalid value: "object": failed rule: self.v >= oldSelf.v'],
  );
});

test('rules do not refuse again what an update leaves as it was, but those on oldSelf are asked', () => {
  const small = withRule({ type: 'integer' }, 'self < 5', { message: 'small' });
  deepEqual(shown(small, 9, 9), []);
  deepEqual(shown(small, 8, 9), ['spec: Invalid value: 8: small']);
  const growing = withRule({ type: 'integer' }, 'self > oldSelf', { message: 'growing' });
  deepEqual(shown(growing, 9, 9), ['spec: Invalid value: 9: growing']);
});

test('rules run in maps and lists at any depth', () => {
  const schema: StructuralSchema = {
    type: 'object',
    properties: {
      spec: {
        type: 'object',
        additionalProperties: {
          type: 'array',
          items: { type: 'integer', 'x-kubernetes-validations': [{ rule: 'self > 0' }] },
        },
      },
    },
  };
  deepEqual(shown(schema, { x: [1, 0] }), ['spec[x][1]: Invalid value: 0: failed rule: self > 0']);
});

test('a rule that does not compile is refused with its position', () => {
  const table: [string, RegExp][] = [
    ['self.a +', /properties\[spec\]\.x-kubernetes-validations\[0\]\.rule: compilation failed: ERROR: <input>:1:9/],
    ['nope.a', /<input>:1:1: Unknown variable: nope/],
    ["'text'", /must evaluate to bool, not string/],
    ['self.all(x, foo(x))', /no matching overload/],
    ['('.repeat(5000), /compilation failed/],
    ['1 == 1'.padEnd(10_001), /longer than/],
  ];
  for (const [rule, message] of table) throws(() => compileRules(withRule(anything, rule)), message);
  throws(() => compileRules(withRule(anything, 'true', { fieldPath: '.a[*]' })), /path of fields/);
  throws(() => compileRules(withRule(anything, 'true', { reason: 'Nonsense' })), /supported values/);
});

test('a rule over a long list is bounded, and the error names the rule', () => {
  const items = Array.from({ length: 5000 }, (_, index) => index);
  const linear = withRule({ type: 'array', items: { type: 'integer' } }, 'self.all(x, x >= 0)');
  deepEqual(shown(linear, items), []);
  const cubic = 'self.all(x, self.all(y, self.all(z, x + y + z >= 0))) || true';
  const started = performance.now();
  const [error] = shown(withRule({ type: 'array', items: { type: 'integer' } }, cubic), items);
  match(error ?? '', /actual cost limit exceeded evaluating rule: self\.all/);
  ok(performance.now() - started < 3000);
});

test('regular expressions in rules take linear time', () => {
  const started = performance.now();
  equal(shown(withRule({ type: 'string' }, "self.matches('^(a+)+$')"), `${'a'.repeat(5000)}!`).length, 1);
  ok(performance.now() - started < 1000);
});

test('keys that every object inherits are data', () => {
  const spec = JSON.parse('{"__proto__": {"x": 1}}') as unknown;
  deepEqual(shown(withRule(anything, "'__proto__' in self && !has(self.constructor)"), spec), []);
});

test('an object nested without end is refused, not a crash', () => {
  const deep = JSON.parse(`${'['.repeat(200_000)}${']'.repeat(200_000)}`) as unknown;
  deepEqual(shown(withRule(anything, 'true'), { deep }), [': Invalid value: "": the object is nested too deeply']);
  const set: StructuralSchema = { type: 'array', 'x-kubernetes-list-type': 'set', items: anything };
  equal(validateSchema(set, [deep, deep])[0]?.detail, 'the object is nested too deeply');
});

interface Definition {
  spec: { names: { kind: string }; versions: { schema: { openAPIV3Schema: StructuralSchema } }[] };
}
const crds = new URL('../../../../crds/', import.meta.url);
const schemas = new Map(
  readdirSync(crds)
    .filter((name) => name.endsWith('.yaml'))
    .map((name) => parse(readFileSync(new URL(name, crds), 'utf8')) as Definition)
    .map(({ spec }) => [spec.names.kind, spec.versions[0]?.schema.openAPIV3Schema as StructuralSchema]),
);

for (const [kind, schema] of schemas) {
  test(`the rules of ${kind} compile`, () => ok(compileRules(schema)));
}

test('the rules of Container refuse what can never work', () => {
  const schema = schemas.get('Container') as StructuralSchema;
  const rules = compileRules(schema);
  const fields = (spec: object): string[] => {
    const object = { metadata: { name: 'x' }, spec };
    applyDefaults(schema, object);
    return rules(object, undefined).map((error) => error.field);
  };
  deepEqual(fields({ image: 'busybox' }), []);
  deepEqual(fields({ image: 'busybox', imageName: 'b' }), ['spec.image']);
  const ports = [
    { containerPort: 80, hostPort: 80 },
    { containerPort: 81, hostPort: 80 },
  ];
  deepEqual(fields({ image: 'busybox', ports }), ['spec.ports']);
});
