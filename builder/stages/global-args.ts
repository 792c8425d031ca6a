// The arguments that FROM lines see: those that every build has, and the ARGs before the first FROM.
import type { Platform } from '../../oci/manifest.ts';
import { platformName } from '../../oci/platform.ts';
import type { ArgInstruction, Dockerfile } from '../dockerfile/ast.ts';
import { expand } from '../dockerfile/expand.ts';
import { withPlace } from '../dockerfile/problem.ts';
import { dockerfileError, quote } from '../dockerfile/syntax-error.ts';

/** Arguments that RUN gets without an ARG, and that no history shows. */
const PROXY_ARGS = ['HTTP_PROXY', 'HTTPS_PROXY', 'FTP_PROXY', 'NO_PROXY', 'ALL_PROXY'];
/** Arguments that builders take for themselves: they need no ARG. */
const OWN_ARGS = /^(?:SOURCE_DATE_EPOCH|BUILDKIT_.*)$/;

export interface PredefinedOptions {
  /** Name or number as it was asked for. */
  readonly target?: string | undefined;
  readonly args: ReadonlyMap<string, string>;
  readonly buildPlatform: Platform;
  readonly targetPlatform: Platform;
}

/** The arguments of every build; one that the build is asked with wins. */
export function predefinedArgs({
  target,
  args,
  buildPlatform,
  targetPlatform,
}: PredefinedOptions): Map<string, string> {
  const predefined = new Map([...platformArgs('BUILD', buildPlatform), ...platformArgs('TARGET', targetPlatform)]);
  predefined.set('TARGETSTAGE', target === undefined || target === '' ? 'default' : target);
  for (const name of predefined.keys()) predefined.set(name, args.get(name) ?? predefined.get(name) ?? '');
  return predefined;
}

function platformArgs(prefix: string, platform: Platform): (readonly [string, string])[] {
  return [
    [`${prefix}PLATFORM`, platformName(platform)],
    [`${prefix}OS`, platform.os],
    [`${prefix}OSVERSION`, platform['os.version'] ?? ''],
    [`${prefix}ARCH`, platform.architecture],
    [`${prefix}VARIANT`, platform.variant ?? ''],
  ];
}

/** The global scope: `predefined`, and then each ARG with what the build was asked with, else its default. Throws Invalid. */
export function globalArgs(
  { file, escape, globalArgs: instructions }: Dockerfile,
  predefined: ReadonlyMap<string, string>,
  args: ReadonlyMap<string, string>,
): Map<string, string> {
  const globals = new Map(predefined);
  for (const instruction of instructions) {
    for (const { name, value: fallback } of instruction.args) {
      const value = args.get(name) ?? (fallback === undefined ? undefined : expandDefault(fallback, instruction));
      if (value !== undefined) globals.set(name, value);
    }
  }
  return globals;

  function expandDefault(fallback: string, instruction: ArgInstruction): string {
    return withPlace(
      (problem, cause) =>
        dockerfileError(file, instruction.position, `cannot expand ${quote(fallback)}: ${problem}`, {
          instruction: instruction.text,
          cause,
        }),
      () => expand(fallback, { escape, variables: globals }).text,
    );
  }
}

/** NAME=value of the proxies that a build is asked with, in both cases that programs look for. */
export function proxyEnv(args: ReadonlyMap<string, string>): string[] {
  const env = new Map<string, string>();
  for (const [name, value] of args) {
    if (!isProxyArg(name)) continue;
    for (const spelling of [name.toUpperCase(), name.toLowerCase()]) env.set(spelling, args.get(spelling) ?? value);
  }
  return [...env].map(([name, value]) => `${name}=${value}`).toSorted();
}

export const isProxyArg = (name: string): boolean => PROXY_ARGS.includes(name.toUpperCase());

/** Whether an argument has its meaning without an ARG that declares it. */
export const isPredefined = (name: string): boolean => isProxyArg(name) || OWN_ARGS.test(name);
