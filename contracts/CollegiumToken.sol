// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Burnable} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Burnable.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";

/// @title CollegiumToken
/// @notice The stake token: a supply fixed at deployment that can only shrink, by burning. Nobody can mint, pause or freeze it.
///         A holder may approve by signature (ERC-2612).
contract CollegiumToken is ERC20Burnable, ERC20Permit {
    /// @param recipient gets the whole supply
    /// @param supply in units of 1e-18 token
    constructor(string memory name_, string memory symbol_, address recipient, uint256 supply) ERC20(name_, symbol_) ERC20Permit(name_) {
        _mint(recipient, supply);
    }
}
