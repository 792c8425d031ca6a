// CEL expressions with the variables of validation rules, evaluated within a budget.
import { Environment, type ASTNode } from '@marcbachmann/cel-js';
import { WindlassError } from '../../lib/errors.ts';
import { registerKubernetesLibrary, SAFE_MATCHES } from './cel-library.ts';

/** Work that evaluations may still do; shared by all rules of one object. */
export interface CelBudget {
  steps: number;
  /** performance.now() at which to give up. */
  readonly deadline: number;
}

export interface CelExpression {
  readonly usesOldSelf: boolean;
  evaluate(variables: { readonly self: unknown; readonly oldSelf?: unknown }, budget: CelBudget): unknown;
}

export class BudgetExceededError extends Error {
  override readonly name = 'BudgetExceededError';
}

/** What the library's evaluator looks like to a function registered with it (`this` in the function). */
interface Evaluator {
  run(ast: { evaluate(evaluator: Evaluator, ast: unknown, context: unknown): unknown }, context: unknown): unknown;
}

const MAX_EXPRESSION_LENGTH = 10_000;
/** How many steps pass between two looks at the clock. */
const CLOCK_INTERVAL = 256;

/** A compiler of expressions over `self` and `oldSelf`. */
export function createCelCompiler(): (source: string, resultType: 'bool' | 'string') => CelExpression {
  const environment = new Environment({ enableOptionalTypes: true, limits: { maxDepth: 100, maxAstNodes: 5000 } });
  environment.registerVariable('self', 'dyn').registerVariable('oldSelf', 'dyn');
  registerKubernetesLibrary(environment);
  const meter = meterEvaluator(environment);
  return (source, resultType) => {
    if (source.length > MAX_EXPRESSION_LENGTH) {
      throw new WindlassError('Invalid', `compilation failed: longer than ${MAX_EXPRESSION_LENGTH} characters`);
    }
    const parsed = compile(() => environment.parse(source), source);
    const usesOldSelf = secureTree(parsed.ast);
    const { valid, type, error } = parsed.check();
    if (!valid) throw compilationError(error, source);
    if (type !== resultType && type !== 'dyn') {
      throw new WindlassError('Invalid', `compilation failed: must evaluate to ${resultType}, not ${type}`);
    }
    return { usesOldSelf, evaluate: (variables, budget) => meter(budget, () => parsed(variables) as unknown) };
  };
}

function compile<T>(attempt: () => T, source: string): T {
  try {
    return attempt();
  } catch (error) {
    throw compilationError(error, source);
  }
}

function compilationError(error: unknown, source: string): WindlassError {
  const { summary, message, range } = error as { summary?: string; message?: string; range?: { start: number } };
  const before = source.slice(0, range?.start ?? 0).split('\n');
  const at = `<input>:${before.length}:${(before.at(-1)?.length ?? 0) + 1}`;
  return new WindlassError('Invalid', `compilation failed: ERROR: ${at}: ${summary ?? message ?? 'invalid'}`, {
    cause: error,
  });
}

/**
 * Counts the evaluator's steps. Each iteration of a macro (all, map, ...) goes through `run`, so nothing loops without
 * being counted. Rules can swallow errors (`x || true`), so the budget is looked at once more when one returns.
 */
function meterEvaluator(environment: Environment): (budget: CelBudget, evaluate: () => unknown) => unknown {
  let evaluator: Evaluator | undefined;
  environment.registerFunction('captureEvaluator(): bool', function capture(this: Evaluator) {
    // oxlint-disable-next-line typescript/no-this-alias -- the library hands its evaluator out in no other way
    evaluator = this;
    return true;
  });
  environment.evaluate('captureEvaluator()');
  if (!evaluator) throw new WindlassError('Internal', 'the CEL library has changed: its evaluator cannot be metered');
  let current: CelBudget | undefined;
  evaluator.run = function run(ast, context) {
    if (current) spend(current);
    return ast.evaluate(this, ast, context);
  };
  return (budget, evaluate) => {
    current = budget;
    try {
      return evaluate();
    } finally {
      current = undefined;
      // Overrides the result on purpose: a value computed after the budget ran out is not to be trusted.
      if (budget.steps < 0) throwExceeded();
    }
  };
}

function spend(budget: CelBudget): void {
  budget.steps -= 1;
  if (budget.steps >= 0 && budget.steps % CLOCK_INTERVAL === 0 && performance.now() > budget.deadline)
    budget.steps = -1;
  if (budget.steps < 0) throwExceeded();
}

function throwExceeded(): never {
  throw new BudgetExceededError('operation cancelled: actual cost limit exceeded');
}

/** Replaces calls that the library would run without a bound; returns whether `oldSelf` occurs. */
function secureTree(root: ASTNode): boolean {
  let usesOldSelf = false;
  const visit = (value: unknown): void => {
    if (Array.isArray(value)) {
      for (const item of value as unknown[]) visit(item);
      return;
    }
    if (value === null || typeof value !== 'object' || !('op' in value) || !('args' in value)) return;
    const node = value as { op: string; args: unknown };
    if (node.op === 'id' && node.args === 'oldSelf') usesOldSelf = true;
    if (node.op === 'rcall' && Array.isArray(node.args) && node.args[0] === 'matches') node.args[0] = SAFE_MATCHES;
    visit(node.args);
  };
  visit(root);
  return usesOldSelf;
}
