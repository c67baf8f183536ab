import { copyButtons } from "./tools.js";

copyButtons();
