// The functions Kubernetes adds to CEL that rules of CRDs use: lists, regular expressions, quantities, addresses, URLs.
// https://kubernetes.io/docs/reference/using-api/cel/#cel-options-language-features-and-libraries
import { BlockList, isIP } from 'node:net';
import type { Environment } from '@marcbachmann/cel-js';
import { parseQuantity } from '../../lib/quantity.ts';
import { isCidr } from './formats.ts';
import { createPatternCache } from './pattern.ts';

/** A number with a unit; a class because the evaluator tells types by their constructor. */
class Quantity {
  readonly value: number;
  constructor(value: number) {
    this.value = value;
  }
}
class Ip {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}
class Cidr {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}
class Url {
  readonly url: URL;
  constructor(url: URL) {
    this.url = url;
  }
}

const MAX_MATCHES = 1000;

/** The name under which `matches` is really called: the evaluator's own one backtracks, without a bound. */
export const SAFE_MATCHES = 'matchesRe2';

/** Registers the library in `environment`. */
export function registerKubernetesLibrary(environment: Environment): void {
  registerLists(environment);
  registerStrings(environment);
  registerQuantities(environment);
  registerAddresses(environment);
  registerUrls(environment);
}

type Scalar = bigint | number | string | boolean;

function registerLists(environment: Environment): void {
  environment
    .registerFunction('list.isSorted(): bool', (list: Scalar[]) =>
      list.every((item, index) => index === 0 || (list[index - 1] as Scalar) <= item),
    )
    .registerFunction('list.sum(): dyn', (list: Scalar[]) => {
      if (typeof list[0] === 'number') return (list as number[]).reduce((sum, item) => sum + item, 0);
      return (list as bigint[]).reduce((sum, item) => sum + item, 0n);
    })
    .registerFunction('list.min(): dyn', (list: Scalar[]) => extreme(list, (a, b) => a < b))
    .registerFunction('list.max(): dyn', (list: Scalar[]) => extreme(list, (a, b) => a > b))
    .registerFunction('list.indexOf(dyn): int', (list: unknown[], item: unknown) => BigInt(list.indexOf(item)))
    .registerFunction('list.lastIndexOf(dyn): int', (list: unknown[], item: unknown) => BigInt(list.lastIndexOf(item)));
}

function extreme(list: readonly Scalar[], isBetter: (a: Scalar, b: Scalar) => boolean): Scalar {
  const [first, ...rest] = list;
  if (first === undefined) throw new Error('min and max need a list that is not empty');
  return rest.reduce((best, item) => (isBetter(item, best) ? item : best), first);
}

function registerStrings(environment: Environment): void {
  const patternOf = createPatternCache();
  environment
    .registerFunction(`string.${SAFE_MATCHES}(string): bool`, (text: string, pattern: string) =>
      patternOf(pattern).matches(text),
    )
    .registerFunction(
      'string.find(string): string',
      (text: string, pattern: string) => patternOf(pattern).find(text) ?? '',
    )
    .registerFunction('string.findAll(string): list<string>', (text: string, pattern: string) =>
      patternOf(pattern).findAll(text, MAX_MATCHES),
    )
    .registerFunction('string.findAll(string, int): list<string>', (text: string, pattern: string, limit: bigint) =>
      patternOf(pattern).findAll(text, limit < 0n ? MAX_MATCHES : Math.min(MAX_MATCHES, Number(limit))),
    )
    .registerFunction(
      'string.charAt(int): string',
      (text: string, index: bigint) => [...codePoints(text)][Number(index)] ?? '',
    )
    .registerFunction('string.replace(string, string): string', (text: string, from: string, to: string) =>
      // A function keeps `$1` in `to` from being special.
      text.replaceAll(from, () => to),
    );
}

function* codePoints(text: string): Generator<string> {
  for (const character of text) yield character;
}

function registerQuantities(environment: Environment): void {
  const compare = (a: Quantity, b: Quantity): bigint => BigInt(Math.sign(a.value - b.value));
  environment
    .registerType('Quantity', Quantity)
    .registerFunction('quantity(string): Quantity', (text: string) => new Quantity(parseQuantity(text)))
    .registerFunction('isQuantity(string): bool', (text: string) => succeeds(() => parseQuantity(text)))
    .registerFunction('Quantity.compareTo(Quantity): int', compare)
    .registerFunction('Quantity.isGreaterThan(Quantity): bool', (a: Quantity, b: Quantity) => a.value > b.value)
    .registerFunction('Quantity.isLessThan(Quantity): bool', (a: Quantity, b: Quantity) => a.value < b.value)
    .registerFunction('Quantity.sign(): int', (a: Quantity) => BigInt(Math.sign(a.value)))
    .registerFunction('Quantity.isInteger(): bool', (a: Quantity) => Number.isInteger(a.value))
    .registerFunction('Quantity.asInteger(): int', (a: Quantity) => BigInt(a.value))
    .registerFunction('Quantity.asApproximateFloat(): double', (a: Quantity) => a.value)
    .registerFunction('Quantity.add(Quantity): Quantity', (a: Quantity, b: Quantity) => new Quantity(a.value + b.value))
    .registerFunction(
      'Quantity.sub(Quantity): Quantity',
      (a: Quantity, b: Quantity) => new Quantity(a.value - b.value),
    );
}

function registerAddresses(environment: Environment): void {
  environment
    .registerType('IP', Ip)
    .registerType('CIDR', Cidr)
    .registerFunction('isIP(string): bool', (text: string) => isIP(text) !== 0)
    .registerFunction('ip(string): IP', (text: string) => {
      if (isIP(text) === 0) throw new Error(`${JSON.stringify(text)} is not an IP address`);
      return new Ip(text);
    })
    .registerFunction('IP.family(): int', (address: Ip) => BigInt(isIP(address.text)))
    .registerFunction('isCIDR(string): bool', isCidr)
    .registerFunction('cidr(string): CIDR', (text: string) => {
      if (!isCidr(text)) throw new Error(`${JSON.stringify(text)} is not an address range`);
      return new Cidr(text);
    })
    .registerFunction('CIDR.prefixLength(): int', (range: Cidr) => BigInt(range.text.split('/')[1] ?? 0))
    .registerFunction('CIDR.ip(): IP', (range: Cidr) => new Ip(range.text.split('/')[0] ?? ''))
    .registerFunction('CIDR.containsIP(IP): bool', (range: Cidr, address: Ip) => contains(range, address.text))
    .registerFunction('CIDR.containsIP(string): bool', (range: Cidr, address: string) => contains(range, address))
    .registerFunction('CIDR.containsCIDR(CIDR): bool', (range: Cidr, inner: Cidr) => containsRange(range, inner))
    .registerFunction('CIDR.containsCIDR(string): bool', (range: Cidr, inner: string) =>
      containsRange(range, new Cidr(inner)),
    );
}

function contains(range: Cidr, address: string): boolean {
  const [network = '', bits] = range.text.split('/');
  const family = isIP(network) === 4 ? 'ipv4' : 'ipv6';
  if (isIP(address) !== isIP(network)) return false;
  const list = new BlockList();
  list.addSubnet(network, Number(bits), family);
  return list.check(address, family);
}

function containsRange(range: Cidr, inner: Cidr): boolean {
  const [network = '', bits] = inner.text.split('/');
  return isCidr(inner.text) && Number(bits) >= Number(range.text.split('/')[1]) && contains(range, network);
}

function registerUrls(environment: Environment): void {
  environment
    .registerType('URL', Url)
    .registerFunction('isURL(string): bool', (text: string) => URL.canParse(text))
    .registerFunction('url(string): URL', (text: string) => new Url(new URL(text)))
    .registerFunction('URL.getScheme(): string', ({ url }: Url) => url.protocol.slice(0, -1))
    .registerFunction('URL.getHost(): string', ({ url }: Url) => url.host)
    .registerFunction('URL.getHostname(): string', ({ url }: Url) => url.hostname)
    .registerFunction('URL.getPort(): string', ({ url }: Url) => url.port)
    .registerFunction('URL.getEscapedPath(): string', ({ url }: Url) => url.pathname);
}

function succeeds(attempt: () => unknown): boolean {
  try {
    attempt();
    return true;
  } catch {
    return false;
  }
}
