// What a user is told once everything runs.
import { paths, type Instance } from '../lib/instance.ts';

/** After `up` and `server`: where things are and what to try. */
export function serverSteps(instance: Instance, url: string): string {
  const kubeconfig = paths.adminKubeconfig(instance);
  return `  API server   ${url}
  kubeconfig   ${kubeconfig}
  next         export KUBECONFIG=${shellWord(kubeconfig)}
               kubectl get nodes`;
}

/** After `node`. */
export function nodeSteps(instance: Instance, url: string): string {
  return `  joined       ${url}
  state        ${instance.home}
  next         kubectl get nodes, with a kubeconfig of the server`;
}

/** `text` as one word of a shell command. */
export function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
