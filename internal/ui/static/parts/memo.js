// Components that are drawn anew only for a reason.
import { Component } from "preact";
import { html } from "../html.js";

/** A component that is drawn again only when `same` says that what it is given is not as before, or a signal in it has changed. */
export function memo(View, same) {
  return class extends Component {
    shouldComponentUpdate(next) {
      return !same(this.props, next);
    }

    render() {
      return html`<${View} ...${this.props} />`;
    }
  };
}
