// MAC addresses of links that have no device behind them.
import { shortHash } from '../../lib/instance.ts';

/** A locally administered MAC that is always the same for the same name. */
export function macOf(name: string): string {
  return `02:${shortHash(name, 10).replaceAll(/..(?=.)/g, '$&:')}`;
}
